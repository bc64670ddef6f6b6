"""Reads the configuration. Of these the later wins: the defaults of ``sections``, the TOML file,
``STREAMD_SECTION__KEY`` in the environment, the command line.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from streamd.config.address import as_it_is
from streamd.config.redact import redact_source, shorten
from streamd.config.sections import SECRET_KEYS, Config
from streamd.errors import ConfigError, Problem

ENVIRONMENT_PREFIX = "STREAMD_"
MAX_BYTES = 1 << 22
MAX_PROBLEMS = 100
"""In one report."""
MAX_KEY = 80
"""Characters of a key in a report."""
MAX_SHOWN = 80
"""Characters of a wrong value."""
_WITHOUT_VALUE = ("missing", "extra_forbidden", "string_too_long", "model_type")
"""Kinds of problems whose value is none, too long, or may be a secret in the place of its section."""


def load(
    file: Path | None, *, environment: Mapping[str, str] = os.environ, overrides: Mapping[str, Any] | None = None
) -> Config:
    """Raises ConfigError with every problem found."""
    data = _read(file) if file else {}
    data = _merge(data, _from_environment(environment))
    data = _merge(data, overrides or {})
    return parse(_with_files(data))


def parse(data: Mapping[str, Any]) -> Config:
    """Raises ConfigError with every problem found."""
    try:
        return Config.model_validate(data)
    except ValidationError as error:
        raise ConfigError(problems(error)) from None


def _read(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as opened:
            data = opened.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise ConfigError(
                [Problem(str(file), "", f"is larger than {MAX_BYTES >> 20} MB: no configuration has so much")]
            )
        return tomllib.loads(data.decode())
    except OSError as error:
        raise ConfigError([Problem(str(file), "", f"cannot be read: {error.strerror}")]) from None
    except UnicodeDecodeError:
        raise ConfigError([Problem(str(file), "", "is not UTF-8 text")]) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([Problem(str(file), "", f"is not TOML: {error}")]) from None


def _from_environment(environment: Mapping[str, str]) -> dict[str, Any]:
    """STREAMD_SERVER__LISTEN=... to {"server": {"listen": ...}}; values are TOML, else plain text."""
    data: dict[str, Any] = {}
    for name, text in sorted(environment.items()):
        path = name.removeprefix(ENVIRONMENT_PREFIX).split("__")
        if not name.startswith(ENVIRONMENT_PREFIX) or len(path) < 2:
            continue
        node = data
        # A stream's name keeps its case; sections and keys are lower case.
        keys = [part if index == 1 and path[0] == "STREAMS" else part.lower() for index, part in enumerate(path)]
        for key in keys[:-1]:
            child = node.get(key)
            node[key] = node = child if isinstance(child, dict) else {}
        node[keys[-1]] = _toml_value(text)
    return data


def _toml_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def _with_files(data: Mapping[str, Any]) -> Mapping[str, Any]:
    """A file that is there is what its name means, whatever it looks like."""
    streams = data.get("streams")
    if not isinstance(streams, Mapping):
        return data
    found = {name: {"source": as_it_is(source)} for name, source in _sources(streams)}
    return _merge(data, {"streams": found})


def _sources(streams: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, stream in streams.items():
        if isinstance(stream, Mapping) and isinstance(stream.get("source"), str):
            yield name, stream["source"]


def problems(error: ValidationError) -> list[Problem]:
    """Pydantic's findings, one per key (a union reports each of its branches), without secrets."""
    found: dict[str, Problem] = {}
    for item in error.errors(include_url=False):
        keys = [
            str(part)
            for part in item["loc"]
            if not str(part).startswith(("literal[", "tuple[", "constrained", "function-"))
        ]
        path = ".".join(_shortened(key) for key in keys if key not in ("[key]", "int", "float"))
        reason = _reason(item["type"], item["msg"])
        hidden = item["type"] in _WITHOUT_VALUE or SECRET_KEYS & set(keys)
        value = "" if hidden else _shown(item["input"], is_source=keys[-1:] == ["source"])
        if path in found:
            reason = f"{found[path].reason}, or {reason}" if reason not in found[path].reason else found[path].reason
        found[path] = Problem(path, value, reason)
        if len(found) > MAX_PROBLEMS:
            more = Problem("", "", f"and more: these are the first {MAX_PROBLEMS}")
            return [*list(found.values())[:MAX_PROBLEMS], more]
    return list(found.values())


def _shortened(key: str) -> str:
    return key if len(key) <= MAX_KEY else f"{key[: MAX_KEY - 3]}..."


_REASONS = {
    "extra_forbidden": "unknown key; `streamd schema` lists those that exist",
    "missing": "is required",
    "string_type": "should be text in quotes",
    "path_type": "should be a path in quotes",
    "string_pattern_mismatch": "a name has letters, digits, . _ and -, at most 64, and begins with a letter or digit",
    "dict_type": "should be a table",
    "model_type": "should be a table",
    "tuple_type": "should be a list",
    "too_long": "has too many items",
    "string_too_long": "is too long",
    "bool_type": "should be true or false",
    "bool_parsing": "should be true or false",
    "int_parsing": "should be a whole number",
    "int_from_float": "should be a whole number",
    "float_parsing": "should be a number",
}
"""In plain words, where pydantic's are Python's."""


def _reason(kind: str, message: str) -> str:
    return _REASONS.get(kind) or message.removeprefix("Value error, ").removeprefix("Input ")


def _shown(value: object, *, is_source: bool) -> str:
    """Without secrets; of a long text only the beginning is read."""
    if isinstance(value, dict | BaseModel):
        return ""
    text = value if isinstance(value, str) else repr(value)
    return shorten(redact_source(text) if is_source else text, MAX_SHOWN)
