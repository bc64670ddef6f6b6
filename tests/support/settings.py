"""Configuration files for tests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from streamd.config.sections import ModelName, Runtime


def _one_of(kind: Any) -> str:
    *most, last = get_args(kind)
    return f"should be {', '.join(map(repr, most))} or {last!r}"


BUILT_IN, RUNTIMES = _one_of(ModelName), _one_of(Runtime)
"""What is said of a network, and of a runtime, that there is not."""
NETWORKS = f"{BUILT_IN}, or the path of a manifest (.toml)"


def write_settings(path: Path, streams: Mapping[str, Mapping[str, Any]], **sections: Mapping[str, Any]) -> Path:
    """Of one stream per name, and of other sections. Replaced at once, as an editor does."""
    tables = {**sections, **{f"streams.{name}": keys for name, keys in streams.items()}}
    text = "\n".join(
        "\n".join([f"[{table}]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items())])
        for table, keys in tables.items()
    )
    new = path.with_suffix(".new")
    new.write_text(text + "\n")
    return new.replace(path)
