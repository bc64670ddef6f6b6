from __future__ import annotations

import json
from typing import Any

import pytest

from streamd.web.app import ROUTES
from streamd.web.openapi import OpenApi

DOCUMENT = json.loads(OpenApi(ROUTES).text)
OPERATIONS = {
    (method.upper(), path): operation
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
}


def references(node: Any) -> set[str]:
    if isinstance(node, dict):
        found = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
        return found.union(*(references(each) for each in node.values()))
    return set().union(*(references(each) for each in node)) if isinstance(node, list) else set()


def test_every_reference_leads_somewhere() -> None:
    for reference in references(DOCUMENT):
        node = DOCUMENT
        for key in reference.removeprefix("#/").split("/"):
            node = node[key]
        assert node


def test_head_is_get_without_a_body() -> None:
    head, get = OPERATIONS["HEAD", "/api/v1/streams"], OPERATIONS["GET", "/api/v1/streams"]
    assert "content" in get["responses"]["200"]
    assert head["responses"].keys() == get["responses"].keys()
    assert not any("content" in answer for answer in head["responses"].values())


@pytest.mark.parametrize(
    ("method", "path", "scope", "refusals"),
    [
        ("GET", "/healthz", None, set()),
        ("DELETE", "/api/v1/session", None, {"403"}),
        ("GET", "/api/v1/streams", "view", {"401", "403", "429"}),
        ("PUT", "/api/v1/streams/{name}", "control", {"401", "403", "429"}),
    ],
)
def test_what_the_access_check_may_answer(method: str, path: str, scope: str | None, refusals: set[str]) -> None:
    operation = OPERATIONS[method, path]
    assert operation.get("x-scope") == scope
    assert refusals == operation["responses"].keys() & {"401", "403", "429"}
    assert bool(operation["security"]) == (scope is not None)


def test_parameters_are_those_that_are_read() -> None:
    parameters = OPERATIONS["GET", "/api/v1/streams/{name}/mjpeg"]["parameters"]
    assert [(each["name"], each["in"]) for each in parameters] == [
        ("name", "path"),
        ("view", "query"),
        ("fps", "query"),
    ]
    assert parameters[2]["schema"] == {"type": "integer", "minimum": 1, "maximum": 30, "default": 10}


def test_a_change_may_take_back_what_is_optional() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    change, settings = schemas["StreamChange"]["properties"], schemas["StreamConfig"]
    assert change.keys() == settings["properties"].keys()
    nullable = {key for key, schema in change.items() if {"type": "null"} in schema.get("anyOf", ())}
    assert nullable == change.keys() - set(settings["required"])
    assert "required" not in schemas["StreamChange"]
