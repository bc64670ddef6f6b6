"""Configuration files for tests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from streamd.config.sections import ModelName

*_MOST, _LAST = get_args(ModelName)
NETWORKS = f"should be {', '.join(map(repr, _MOST))} or {_LAST!r}"
"""What is said of a network that there is not."""


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
