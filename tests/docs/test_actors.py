"""The code in docs/actors.md runs, prints what the page says, and is typed as the page says."""

import re
import subprocess
import sys
import types
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
PAGE = PROJECT / "docs/actors.md"
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


def printed(block: str) -> list[str]:
    """What the comments behind `print` say."""
    lines = [line for line in block.splitlines() if line.lstrip().startswith("print(")]
    return [line.partition("  # ")[2] for line in lines]


def test_every_print_says_what_it_prints():
    assert len(BLOCKS) >= 8
    assert all(comment for block in BLOCKS for comment in printed(block))


def test_the_pages_code_runs_in_order_and_prints_what_it_says(capsys, caplog, monkeypatch):
    module = types.ModuleType("the_page")
    monkeypatch.setitem(sys.modules, "the_page", module)  # dataclasses look their module up
    for block in BLOCKS:
        code = compile(block, str(PAGE), "exec", dont_inherit=True)
        exec(code, vars(module))  # noqa: S102 - the page is ours
        assert capsys.readouterr().out.splitlines() == printed(block), block
    # The one crash that the page shows, its report by the actor's kernel and by its supervisor.
    assert [record.levelname for record in caplog.records] == ["ERROR", "WARNING"]


def test_the_pages_code_is_typed_without_casts(tmp_path):
    file = tmp_path / "page.py"
    file.write_text("\n".join(BLOCKS), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", str(file)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\((?!http)([^)]+)\)", PAGE.read_text("utf-8")))))
def test_a_link_of_the_page_leads_somewhere(target):
    path, _, anchor = target.partition("#")
    file = (PAGE.parent / path).resolve() if path else PAGE
    assert file.exists()
    if anchor:
        titles = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), re.MULTILINE)
        assert anchor in {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}


def test_what_the_page_calls_public_is():
    import duologue.runtime

    text = PAGE.read_text(encoding="utf-8")
    for names in re.findall(r"from duologue\.runtime import (.+)", text):
        for name in names.split(", "):
            assert name in duologue.runtime.__all__
