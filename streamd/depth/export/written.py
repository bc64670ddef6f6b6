"""What an export has made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Written:
    path: Path
    """What the other program is given."""
    files: Sequence[Path]
    error: float | None
    """How far its depth is from that of the network here: see ``Reference.check``. None: it cannot run here."""
    only: str = ""
    """The one size of input that it takes, as in "256x128"; empty when it takes all that the network takes."""

    @property
    def size_bytes(self) -> int:
        return sum(file.stat().st_size for file in self.files)
