"""Files that outlast a power cut: made beside their place, flushed to the disk, and moved there in one step."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def write(place: Path, content: bytes, mode: int = 0o644) -> None:
    """Atomic: a reader finds the old content or the new one."""
    place.parent.mkdir(parents=True, exist_ok=True)
    new = _beside(place)
    with new.open("wb") as file:
        os.fchmod(file.fileno(), mode)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.replace(place)
    _flush(place.parent)


def link(place: Path, target: Path) -> None:
    """Makes the symbolic link, or turns the one that is there to another target."""
    place.parent.mkdir(parents=True, exist_ok=True)
    new = _beside(place)
    new.unlink(missing_ok=True)
    new.symlink_to(target)
    new.replace(place)
    _flush(place.parent)


def remove(place: Path, kind: str = "") -> None:
    """And what a writer that was killed has left. ``kind`` "tree": with all that is in it; other directories stay when
    somebody has put something into them."""
    _beside(place).unlink(missing_ok=True)
    if place.is_symlink() or place.is_file():
        place.unlink()
    elif kind == "tree":
        shutil.rmtree(place, ignore_errors=True)
    elif place.is_dir() and not any(place.iterdir()):
        place.rmdir()


def _beside(place: Path) -> Path:
    return place.with_name(f".{place.name}.new")


def _flush(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
