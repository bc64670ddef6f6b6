"""The disk of the recordings: whether it is there, and how much space it has. A dead disk may block these calls for
ever: make them only in threads that nothing waits for."""

from __future__ import annotations

import errno
import math
import os
import threading
import time
from pathlib import Path

from streamd.concurrency.threads import Periodic

MEASURE_EVERY_S = 2.0
OUTDATED_S = 10.0
_mounts: dict[Path, Path] = {}
"""By directory that was recorded to: the mount point that it lay below."""


def require_directory(directory: Path) -> None:
    """Makes the directory where it is not there. Raises OSError when the disk that was recorded to has gone: what is
    written below an empty mount point would fill the disk of the system."""
    mount = _mounts.get(directory)
    if mount is not None and not mount.is_mount():
        raise OSError(errno.ENODEV, "the disk is not mounted", str(mount))
    if mount is not None and _mount(directory) != mount:
        raise OSError(errno.ENODEV, f"is no longer on the disk at {mount}", str(directory))
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(errno.ENOTDIR, "is not a directory", str(directory)) from None
    _mounts[directory] = _mount(directory)


def _mount(directory: Path) -> Path:
    resolved = directory.resolve()
    return next(path for path in (resolved, *resolved.parents) if path.is_mount())


def free_bytes(path: Path) -> int:
    """Raises OSError."""
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize


class DiskWatch:
    """Measures the free space again and again, in a thread of its own."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._measured: tuple[float, float] = (math.nan, -math.inf)
        """Bytes, and when. Written by the thread."""
        self._thread = Periodic("disk-watch", self._measure, MEASURE_EVERY_S)

    @property
    def free_bytes(self) -> float:
        """NaN when it is not known: the disk is away, or does not answer. Any thread; never blocks."""
        free, measured_at = self._measured
        return free if time.monotonic() - measured_at < OUTDATED_S else math.nan

    async def stop(self) -> None:
        await self._thread.stop()

    def _measure(self, _: threading.Event) -> None:
        """Before anything has been recorded the directory may not be there: then of what it will be made in."""
        places = (self._directory, *self._directory.absolute().parents)
        free = math.nan
        for place in places:
            try:
                free = free_bytes(place)
            except FileNotFoundError:
                continue
            except OSError:
                pass
            break
        self._measured = (free, time.monotonic())
