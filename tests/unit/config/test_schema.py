from __future__ import annotations

import json
import tomllib
from typing import Any, get_args

from streamd.config import schema
from streamd.config.load import parse
from streamd.config.sections import Config, ModelName, StreamConfig


def keys() -> dict[str, dict[str, Any]]:
    """Every key with its field, by section."""
    sections = {name: field.annotation for name, field in Config.model_fields.items() if name != "streams"}
    return {name: dict(section.model_fields) for name, section in sections.items()} | {  # type: ignore[union-attr]
        "streams.NAME": dict(StreamConfig.model_fields)
    }


def test_the_reference_explains_every_key() -> None:
    blocks = schema.reference().split("\n\n")
    for name, fields in keys().items():
        assert any(f"[{name}]" in block.splitlines() for block in blocks)
        for key, field in fields.items():
            (block,) = [block for block in blocks if f"# {field.description.splitlines()[0]}" in block.splitlines()]
            assert any(line.startswith((f"{key} =", f"# {key} =")) for line in block.splitlines()), key


def test_the_reference_names_types_and_limits() -> None:
    text = schema.reference()
    for line in (
        '#   "auto" | whole number, at least 64, at most 1024',
        '#   "auto" | whole number, at least 1, at most 256',
        '#   "smooth" | "frame" | [number, number]',
        "#   number, more than 0, at most 60",
        "#   true | false",
        "#   path",
        "#   " + " | ".join(f'"{name}"' for name in get_args(ModelName)) + " | text",
    ):
        assert line in text.splitlines(), line
    assert "typing" not in text
    assert "<class" not in text


def test_the_example_is_toml_with_every_default() -> None:
    data = tomllib.loads(schema.example())
    assert parse(data) == Config(streams={"demo": StreamConfig(source="demo:")})
    shown = {name: set(section) for name, section in data.items() if name != "streams"}
    shown["streams.NAME"] = set(data["streams"]["demo"])
    for name, fields in keys().items():
        assert shown[name] == {key for key, field in fields.items() if field.default is not None}
        for key in fields:
            assert f"{key} =" in schema.example()


def test_editors_get_json_schema() -> None:
    data = json.loads(schema.json_schema())
    model = data["$defs"]["ModelConfig"]
    assert model["additionalProperties"] is False
    assert model["properties"]["input_size"]["anyOf"][1]["maximum"] == 1024
    assert model["properties"]["name"]["description"]
