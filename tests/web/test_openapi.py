"""The schema is true: to the table, to the routes, and to what is really answered."""

import re
from typing import Any

import pytest
from starlette.routing import Route

from duologue.app import create_app
from duologue.web.openapi import build_schema
from duologue.web.rest import ENDPOINTS
from tests.web.place import FEATURE, Place, settings_of

SCHEMA = build_schema(ENDPOINTS)


def operations() -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (path, method, operation)
        for path, methods in SCHEMA["paths"].items()
        for method, operation in methods.items()
    ]


def test_the_schema_has_every_route_of_the_application_and_no_other():
    app = create_app(settings_of())
    routed = {
        (route.path, method)
        for route in app.routes
        if isinstance(route, Route) and route.path != "/"
        for method in route.methods or ()
        if method != "HEAD"
    }
    assert {(path, method.upper()) for path, method, _ in operations()} == routed


def test_every_reference_points_somewhere():
    names = set(re.findall(r"'#/components/schemas/(\w+)'", repr(SCHEMA)))
    assert names
    assert names <= set(SCHEMA["components"]["schemas"])


def test_every_operation_has_a_name_of_its_own():
    names = [operation["operationId"] for *_, operation in operations()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(("path", "method", "operation"), operations(), ids=lambda value: str(value)[:40])
def test_an_operation_names_its_path_parameters_its_success_and_its_errors(path, method, operation):
    in_path = {p["name"] for p in operation.get("parameters", ()) if p["in"] == "path"}
    assert in_path == set(re.findall(r"{(\w+)}", path))
    assert any(status.startswith("2") for status in operation["responses"])
    if operation["security"]:
        assert {"401", "403"} <= set(operation["responses"])
    if "requestBody" in operation:
        assert {"400", "413"} <= set(operation["responses"])


def conforms(value: Any, schema: dict[str, Any]) -> None:
    """As much of JSON Schema as the document uses."""
    if "$ref" in schema:
        return conforms(value, SCHEMA["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]])
    if "anyOf" in schema:
        if value is None:
            assert {"type": "null"} in schema["anyOf"]
            return None
        return conforms(value, schema["anyOf"][0])
    kinds = {
        "string": str,
        "integer": int,
        "number": (int, float),
        "boolean": bool,
        "array": list,
        "object": dict,
    }
    assert isinstance(value, kinds[schema["type"]]), (value, schema)
    if "enum" in schema:
        assert value in schema["enum"]
    if schema["type"] == "array":
        for item in value:
            conforms(item, schema["items"])
    if "properties" in schema:
        assert set(schema["required"]) <= set(value) <= set(schema["properties"])
        for name, item in value.items():
            conforms(item, schema["properties"][name])
    return None


async def test_real_answers_conform_to_their_schemas(own: Place):
    async with own.http() as http:
        served = (await http.get("/openapi.json")).json()
        assert served == SCHEMA

        async def check(method: str, path: str, pattern: str, **options: Any) -> None:
            answer = await http.request(method, path, **options)
            responses = served["paths"][pattern][method.lower()]["responses"]
            content = responses[str(answer.status_code)].get("content")
            if content is None:
                assert answer.content == b""
                return
            ((media_type, described),) = content.items()
            assert answer.headers["content-type"].startswith(media_type)
            if media_type == "application/json":
                conforms(answer.json(), described["schema"])

        await check("POST", "/v1/dialogues", "/v1/dialogues", json={"id": "d1", "feature": FEATURE})
        await check(
            "POST", "/v1/dialogues", "/v1/dialogues", json={"id": "d1", "feature": FEATURE, "section": "x"}
        )
        await check("POST", "/v1/dialogues", "/v1/dialogues", content=b"{")
        async for _ in own.runtime.dialogue("d1").ask("Hi", client_message_id="c-1"):
            pass
        await check("GET", "/v1/dialogues", "/v1/dialogues")
        for name in ("d1", "nowhere"):
            await check("GET", f"/v1/dialogues/{name}", "/v1/dialogues/{id}")
            await check("GET", f"/v1/dialogues/{name}/messages", "/v1/dialogues/{id}/messages")
            await check(
                "POST",
                f"/v1/dialogues/{name}/messages",
                "/v1/dialogues/{id}/messages",
                json={"content": "Hi", "on_busy": "queue"},
            )
            await check("POST", f"/v1/dialogues/{name}/cancel", "/v1/dialogues/{id}/cancel")
        await check("POST", "/v1/dialogues/nowhere/regenerate", "/v1/dialogues/{id}/regenerate")
        await check("POST", "/v1/ws-ticket", "/v1/ws-ticket")
        for path in ("/healthz", "/readyz", "/metrics", "/v1/_inspect", "/openapi.json"):
            await check("GET", path, path)
        await check("DELETE", "/v1/dialogues/d1", "/v1/dialogues/{id}")
