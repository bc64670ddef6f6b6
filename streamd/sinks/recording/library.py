"""The recordings on disk. Everything here blocks: it is for a thread, not for the event loop.

A path is ``STREAM/FILE`` exactly as a recorder names them, so nothing else can be reached: what
does not match is not there, and neither are symbolic links.
"""

from __future__ import annotations

import math
import os
import re
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from streamd.config.sections import STREAM_NAME, VIEWS

_NAME = re.compile(
    rf"(?P<started>\d{{4}}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{{3}}Z)-(?P<view>{'|'.join(VIEWS)})\.mp4", re.ASCII
)
_STARTED = "%Y-%m-%dT%H-%M-%S.%fZ"
_STREAM = re.compile(STREAM_NAME)
SPARED_S = 60.0
"""What changed more recently is not deleted: a recorder, which writes each second, may be at it."""
_TRAILER_BYTES = 16
"""A finished file ends with the box mfro (ISO 14496-12, 8.8.11): size, type, version, size of mfra."""


class Key(NamedTuple):
    """What recordings are sorted by: when they began, as in their name; then their path."""

    started: str
    path: str


@dataclass(frozen=True)
class Segment:
    """One recorded file."""

    path: str
    """Below the directory, as in /recordings/PATH."""
    stream: str
    view: str
    started: datetime
    size_bytes: int
    modified_s: float
    """Unix time."""
    finished: bool
    """False while it is written, and for good when the power was cut meanwhile."""


@dataclass(frozen=True)
class OpenFile:
    """``descriptor`` is the holder's to close."""

    descriptor: int
    size_bytes: int
    modified_s: float
    tag: str
    """Another one whenever the file has changed."""


class Library:
    """The directory that is recorded to."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def page(
        self, limit: int, before: Key | None = None, stream: str | None = None
    ) -> tuple[list[Segment], Key | None]:
        """The newest first, and the key to go on with; None at the end."""
        keys = sorted((key for key in self._keys(stream) if before is None or key < before), reverse=True)
        found: list[Segment] = []
        for key in keys[:limit]:
            with suppress(FileNotFoundError):  # removed meanwhile
                found.append(self._segment(key.path))
        return found, keys[limit - 1] if len(keys) > limit else None

    def open(self, path: str) -> OpenFile:
        """Raises FileNotFoundError for whatever is not a recording."""
        stream, _, name = path.partition("/")
        if not (_STREAM.fullmatch(stream) and _NAME.fullmatch(name)):
            raise FileNotFoundError(path)
        try:
            folder = os.open(self._directory / stream, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:  # O_NONBLOCK: opening a pipe of that name would wait for ever
                flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
                descriptor = os.open(name, flags, dir_fd=folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise FileNotFoundError(path) from error
        return _opened(descriptor, path)

    def prune(
        self, stop: threading.Event, *, max_age_s: float = math.inf, max_bytes: float = math.inf
    ) -> tuple[int, OSError | None]:
        """Deletes segments, the oldest first, while one has ended longer ago than ``max_age_s`` or all together
        have more than ``max_bytes``; those that may still be written stay, and all once ``stop`` is set. Returns
        how many went, and why the first did not that should have."""
        now_s, deleted, failure = time.time(), 0, None
        found = sorted(self._sizes())
        total = sum(size for _, size, _ in found)
        for ended_s, size, path in found:
            age_s = now_s - ended_s
            if stop.is_set() or age_s < SPARED_S or (age_s <= max_age_s and total <= max_bytes):
                break
            try:
                Path(path).unlink(missing_ok=True)
            except OSError as error:
                failure = failure or error
                continue
            total -= size
            deleted += 1
        return deleted, failure

    def _sizes(self) -> Iterator[tuple[float, int, str]]:
        """Of each: when it was last written, Unix time; its bytes; its path."""
        for *_, entry in self._entries():
            with suppress(FileNotFoundError):  # removed meanwhile
                about = entry.stat(follow_symlinks=False)
                yield about.st_mtime, about.st_size, entry.path

    def _keys(self, stream: str | None) -> Iterator[Key]:
        for folder, match, entry in self._entries(stream):
            yield Key(match["started"], f"{folder}/{entry.name}")

    def _entries(self, stream: str | None = None) -> Iterator[tuple[str, re.Match[str], os.DirEntry[str]]]:
        """Every recording: its folder, what its name says, itself."""
        for folder in self._folders() if stream is None else [stream]:
            if not _STREAM.fullmatch(folder):
                continue
            with suppress(OSError), os.scandir(self._directory / folder) as entries:
                for entry in entries:
                    match = _NAME.fullmatch(entry.name)
                    if match and entry.is_file(follow_symlinks=False):
                        yield folder, match, entry

    def _folders(self) -> list[str]:
        with suppress(OSError), os.scandir(self._directory) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
        return []

    def _segment(self, path: str) -> Segment:
        opened = self.open(path)
        try:
            tail = os.pread(opened.descriptor, _TRAILER_BYTES, max(0, opened.size_bytes - _TRAILER_BYTES))
        finally:
            os.close(opened.descriptor)
        stream, _, name = path.partition("/")
        match = _NAME.fullmatch(name)
        assert match is not None
        started = datetime.strptime(match["started"], _STARTED).replace(tzinfo=UTC)
        finished = tail[4:8] == b"mfro"
        return Segment(path, stream, match["view"], started, opened.size_bytes, opened.modified_s, finished)


def key_of(text: str) -> Key:
    """Of a path, or of a UTC time such as 2026-11-25T03:41:23Z. Raises ValueError."""
    match = _NAME.fullmatch(text.rpartition("/")[2])
    if match:
        return Key(match["started"], text)
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC)
    return Key(moment.strftime("%Y-%m-%dT%H-%M-%S.%f")[:-3] + "Z", "")


def _opened(descriptor: int, path: str) -> OpenFile:
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise FileNotFoundError(path)
    tag = f'"{found.st_ino:x}-{found.st_size:x}-{found.st_mtime_ns:x}"'
    return OpenFile(descriptor, found.st_size, found.st_mtime, tag)
