"""Files that must be whole or absent, also after a power cut."""

from __future__ import annotations

import fcntl
import functools
import hashlib
import json
import logging
import os
import stat
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from streamd.errors import DepthError
from streamd.host.whole_file import WholeFile, phrase

_POLL_S = 0.1
_log = logging.getLogger(__name__)


@contextmanager
def one_line(path: Path) -> Iterator[None]:
    """An OSError inside becomes a DepthError that names its file, or ``path`` when it has none."""
    try:
        yield
    except OSError as error:
        raise DepthError(f"{error.filename or path}: {phrase(error)}") from error


def sha256_of(*paths: Path) -> str:
    """Hex digest of the content, of several files one after the other. Raises OSError."""
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


@functools.cache
def writable(cache: Path) -> Path:
    """``cache``, or a folder of this user's for temporary files where it cannot be written, which is said once."""
    there = next(folder for folder in (cache, *cache.absolute().parents) if os.path.isdir(folder))
    if os.access(there, os.W_OK | os.X_OK):
        return cache
    try:
        own = Path(tempfile.gettempdir(), f"streamd-{os.getuid()}")
        own.mkdir(mode=0o700, exist_ok=True)
        found = own.lstat()
    except OSError:  # then the cache itself is what is reported
        return cache
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        return cache  # somebody else has made it, who could change what we run
    _log.warning("%s cannot be written: what is made for this CPU goes to %s", cache, own)
    return own


def write_json(path: Path, content: Mapping[str, object]) -> None:
    """Replaces the file in one step. Raises OSError."""
    with WholeFile(path) as whole:
        whole.write(json.dumps(content, indent=1).encode())
        os.fchmod(whole.descriptor, 0o644)


@contextmanager
def locked(path: Path, timeout_s: float, stop: threading.Event | None = None) -> Iterator[int]:
    """Holds a lock that no other process or thread holds meanwhile; yields its file descriptor.

    A child that inherits the descriptor keeps the lock alive. Raises DepthError when the wait takes
    too long or ``stop`` is set, OSError when the file cannot be made.
    """
    give_up_at = time.monotonic() + timeout_s
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if stop is not None and stop.is_set():
                    raise DepthError(f"{path}: interrupted while another process is at work here") from None
                if time.monotonic() > give_up_at:
                    raise DepthError(f"{path}: another process has been at work here for {timeout_s:.0f} s") from None
                time.sleep(_POLL_S)
        yield handle
    finally:
        os.close(handle)
