"""Files under foxglove-sdk's writer of MCAP, and room for them."""

from __future__ import annotations

import math
import os
from pathlib import Path

MCAP = ".mcap"


class McapFile:
    """What the writer needs of one. It remembers the first failure, of which the writer tells the log alone."""

    def __init__(self, path: Path) -> None:
        """Raises OSError."""
        self.failure: OSError | None = None
        self._path = path
        self._file = path.open("xb", buffering=0)

    @property
    def size(self) -> float:
        """Bytes; endless when somebody has deleted it."""
        state = os.fstat(self._file.fileno())
        return state.st_size if state.st_nlink else math.inf

    def write(self, data: bytes) -> int:
        try:
            return self._file.write(data) or 0
        except OSError as error:
            self.failure = self.failure or error
            raise

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def flush(self) -> None: ...

    def close(self) -> None:
        """Leaves no empty file."""
        with self._file:
            if self.size == 0:
                self._path.unlink()


def make_room(folder: Path, max_gb: float) -> None:
    """The oldest files go, by their names, which begin with their times. Raises OSError."""
    files = sorted(folder.glob(f"streamd-*{MCAP}"))
    held = sum(file.stat().st_size for file in files)
    for file in files:
        if held <= max_gb * 1e9:
            return
        held -= file.stat().st_size
        file.unlink()
