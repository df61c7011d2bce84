"""The page and its files."""

import re

import pytest

from duologue.web.pages import STATIC_DIRECTORY
from tests.web.place import TOKEN, Place, place


async def test_the_page_is_at_the_root(here: Place):
    async with here.http() as http:
        answer = await http.get("/")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert answer.text == (STATIC_DIRECTORY / "index.html").read_text()


async def test_everything_that_the_page_names_is_served_and_comes_from_here(own: Place):
    async with own.http() as http:
        page = (await http.get("/")).text
        names = re.findall(r'(?:src|href)="([^"#]+)"', page)
        assert names
        for name in names:
            assert name.startswith("static/"), "relative, so that it works under another application's path"
            assert (await http.get("/" + name)).status_code == 200
    assert "<script>" not in page
    assert not re.search(r"\son\w+=", page)
    assert "style=" not in page


@pytest.mark.parametrize(
    ("name", "kind"), [("main.js", "javascript"), ("style.css", "css"), ("icon.svg", "svg")]
)
async def test_files_have_their_types_and_are_asked_for_again(own: Place, name: str, kind: str):
    async with own.http() as http:
        first = await http.get(f"/static/{name}")
        again = await http.get(f"/static/{name}", headers={"if-none-match": first.headers["etag"]})
    assert kind in first.headers["content-type"]
    assert first.headers["cache-control"] == "no-cache"
    assert again.status_code == 304


async def test_a_page_under_a_foreign_name_is_not_served_without_authentication(own: Place):
    async with own.http(headers={"Host": "evil.example"}) as http:
        assert (await http.get("/")).status_code == 403
    async with (
        place(auth={"token": TOKEN}) as locked,
        locked.http(headers={"Host": "chat.example.com"}) as http,
    ):
        assert (await http.get("/")).status_code == 200


async def test_under_a_path_of_another_application_the_page_finds_its_files():
    async with place(mounted="/tutor") as here, here.http() as http:
        assert (await http.get("/")).status_code == 200
        assert (await http.get("/static/main.js")).status_code == 200
