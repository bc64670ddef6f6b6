"""The commands and configurations of the documentation: its code blocks, fenced or indented."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
DOCUMENTS = (*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md")


class Recipe(NamedTuple):
    document: str
    heading: str
    text: str

    @property
    def is_settings(self) -> bool:
        """Whether it is TOML of our configuration."""
        return bool(re.match(r"\[\[?(server|webrtc|model|recording|streams)\b", self.text))

    @property
    def commands(self) -> list[str]:
        """Those that ask the daemon."""
        return [line.partition("  #")[0].strip() for line in self.text.splitlines() if line.startswith("curl ")]


def recipes() -> Iterator[Recipe]:
    for path in DOCUMENTS:
        heading = ""
        block: list[str] = []
        fenced = False
        for line in [*path.read_text().splitlines(), ""]:
            if not fenced and line.startswith("#"):
                heading = line.lstrip("# ")
            if line.startswith("```"):
                fenced = not fenced
            elif fenced or line.startswith("    ") or (block and not line):
                block.append(line if fenced else line[4:])
                continue
            if block and any(block):
                yield Recipe(path.name, heading, "\n".join(block).strip())
            block = []
