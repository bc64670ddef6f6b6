"""The configuration reference, made from the models: text for people, JSON Schema for editors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Lt, MinLen, MultipleOf
from pydantic.fields import FieldInfo

from streamd.config.section import Section
from streamd.config.sections import Config, StreamConfig


def json_schema() -> str:
    return json.dumps(Config.model_json_schema(), indent=2)


def reference() -> str:
    """Every key: its meaning, type, limits and default."""
    return "\n".join(_lines(example=False))


def example() -> str:
    """A file that sets every key to its default; what has none is commented out."""
    return "\n".join(_lines(example=True))


def _lines(*, example: bool) -> Iterator[str]:
    yield "# streamd: every key with its default. Unknown keys are errors; `streamd check FILE` finds them."
    yield "# STREAMD_SECTION__KEY in the environment overrides a key."
    for name, field in Config.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, Section):
            yield from _section(f"[{name}]", section, example)
    yield from _section("[streams.demo]" if example else "[streams.NAME]", StreamConfig, example)


def _section(title: str, section: type[Section], example: bool) -> Iterator[str]:
    yield ""
    yield f"# {(section.__doc__ or '').strip()}"
    yield title
    for key, field in section.model_fields.items():
        if not example:
            yield ""
        yield from (f"# {line}" for line in str(field.description).splitlines())
        if not example:
            yield f"#   {_type(field)}"
        yield _assignment(key, field)


def _assignment(key: str, field: FieldInfo) -> str:
    if field.is_required():
        return f'{key} = "demo:"'
    if field.default is None:
        return f"# {key} ="
    return f"{key} = {_toml(field.default)}"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    return json.dumps(str(value) if isinstance(value, Path) else value)


def _type(field: FieldInfo) -> str:
    return ", ".join([_name(field.annotation), *_limits(field.metadata)])


def _name(kind: Any) -> str:
    origin = get_origin(kind)
    if origin is Annotated:
        base, *limits = get_args(kind)
        inner = [limit for item in limits for limit in (item.metadata if isinstance(item, FieldInfo) else [item])]
        return ", ".join([_name(base), *_limits(inner)])
    if origin is Literal:
        return " | ".join(json.dumps(value) for value in get_args(kind))
    if origin in (UnionType, Union):
        return " | ".join(_name(part) for part in get_args(kind) if part is not NoneType)
    if origin is tuple:
        parts = [part for part in get_args(kind) if part is not Ellipsis]
        return "[" + ", ".join(_name(part) for part in parts) + (", ...]" if len(parts) < len(get_args(kind)) else "]")
    if isinstance(kind, type) and issubclass(kind, Section):
        return "{ " + ", ".join(kind.model_fields) + " }"
    return {str: "text", Path: "path", int: "whole number", float: "number", bool: "true | false"}.get(kind, str(kind))


def _limits(metadata: list[Any]) -> list[str]:
    words = {Ge: ("ge", "at least"), Gt: ("gt", "more than"), Le: ("le", "at most"), Lt: ("lt", "less than")}
    words |= {MultipleOf: ("multiple_of", "a multiple of"), MinLen: ("min_length", "length at least")}
    return [
        f"{word} {getattr(item, attribute)}"
        for item in metadata
        for kind, (attribute, word) in words.items()
        if isinstance(item, kind)
    ]
