"""The recordings on disk. Everything here blocks: it is for one thread, not for the event loop.

A path is ``STREAM/FILE`` exactly as a recorder names them, so nothing else can be reached: what
does not match is not there, and neither are symbolic links.
"""

from __future__ import annotations

import heapq
import os
import stat
import time
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from streamd.errors import SinkError
from streamd.sinks.recording.names import SegmentName, is_stream, parse_file, parse_path
from streamd.sinks.recording.segment import is_written

_TRAILER_BYTES = 16
"""A finished file ends with the box mfro (ISO 14496-12, 8.8.11): size, type, version, size of mfra."""
SETTLED_NS = 2_000_000_000
"""A folder that changed more recently may change again without another time stamp."""


class BeingWritten(SinkError):
    def __init__(self, path: str) -> None:
        self.path = path
        super().__init__(f"{path}: is being recorded: stop the recording first, or wait for the next segment")


@dataclass(frozen=True)
class Segment:
    """One recorded file."""

    name: SegmentName
    started: datetime
    size_bytes: int
    written: bool
    """By a recorder, now."""
    cut_short: bool
    """It has no end, and no recorder writes it: power or disk failed."""


@dataclass(frozen=True)
class OpenFile:
    """``descriptor`` is the holder's to close."""

    descriptor: int
    size_bytes: int
    modified_s: float
    """Unix time."""
    tag: str
    """Another one whenever the file has changed."""


class _Folder(NamedTuple):
    """What is in the folder of a stream, as long as nothing is added or removed."""

    version: tuple[int, int]
    """Its inode and when it was changed."""
    names: list[SegmentName]
    """Sorted."""


class Library:
    """The directory that is recorded to. Every method may raise OSError when its disk is away."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._folders: dict[str, _Folder] = {}

    def page(
        self, limit: int, before: SegmentName | None = None, stream: str | None = None
    ) -> tuple[list[Segment], SegmentName | None]:
        """The newest first, and the name to go on with; None at the end. Only files of the page are opened."""
        folders = [self.names(folder) for folder in (self.streams() if stream is None else [stream])]
        ends = [len(names) if before is None else bisect_left(names, before) for names in folders]
        older = (reversed(names[max(0, end - limit - 1) : end]) for names, end in zip(folders, ends, strict=True))
        chosen = list(islice(heapq.merge(*older, reverse=True), limit + 1))
        found: list[Segment] = []
        for name in chosen[:limit]:
            with suppress(FileNotFoundError):  # removed meanwhile
                found.append(self._segment(name))
        return found, chosen[limit - 1] if len(chosen) > limit else None

    def streams(self) -> list[str]:
        """Those that have a folder."""
        with suppress(FileNotFoundError), os.scandir(self._directory) as entries:
            return [each.name for each in entries if is_stream(each.name) and each.is_dir(follow_symlinks=False)]
        return []

    def names(self, stream: str) -> list[SegmentName]:
        """Of the recordings of a stream, sorted."""
        if not is_stream(stream):
            return []
        folder = self._directory / stream
        try:
            about = os.stat(folder, follow_symlinks=False)
            if not stat.S_ISDIR(about.st_mode):
                return []
            known, version = self._folders.get(stream), (about.st_ino, about.st_mtime_ns)
            if known is not None and known.version == version:
                return known.names
            found = _Folder(version, sorted(_scan(stream, folder)))
        except FileNotFoundError:
            self._folders.pop(stream, None)
            return []
        if time.time_ns() - about.st_mtime_ns > SETTLED_NS:
            self._folders[stream] = found
        return found.names

    def open(self, path: str) -> OpenFile:
        """Raises FileNotFoundError when there is no such recording."""
        name = _parse(path)
        with self._folder(name) as folder:  # O_NONBLOCK: opening a pipe of that name would wait for ever
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
            try:
                descriptor = os.open(name.file, flags, dir_fd=folder)
            except OSError as error:  # ELOOP: a link
                raise FileNotFoundError(path) from error
        return _opened(descriptor, path)

    def delete(self, path: str) -> None:
        """Raises BeingWritten; FileNotFoundError when there is no such recording."""
        name = _parse(path)
        with self._folder(name) as folder:
            if not stat.S_ISREG(os.stat(name.file, dir_fd=folder, follow_symlinks=False).st_mode):
                raise FileNotFoundError(path)
            if self.is_written(name):
                raise BeingWritten(path)
            os.unlink(name.file, dir_fd=folder)

    def status(self, name: SegmentName) -> os.stat_result:
        return os.stat(self._directory / name.path, follow_symlinks=False)

    def is_written(self, name: SegmentName) -> bool:
        """By a recorder, now."""
        return is_written(self._directory / name.path)

    @contextmanager
    def _folder(self, name: SegmentName) -> Iterator[int]:
        """The descriptor of the folder of its stream, which is no link."""
        try:
            folder = os.open(self._directory / name.stream, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except (NotADirectoryError, FileNotFoundError) as error:
            raise FileNotFoundError(name.path) from error
        try:
            yield folder
        finally:
            os.close(folder)

    def _segment(self, name: SegmentName) -> Segment:
        written = self.is_written(name)  # first: it may be finished meanwhile
        opened = self.open(name.path)
        try:
            tail = os.pread(opened.descriptor, _TRAILER_BYTES, max(0, opened.size_bytes - _TRAILER_BYTES))
        finally:
            os.close(opened.descriptor)
        is_whole = tail[4:8] == b"mfro"
        return Segment(name, name.started, opened.size_bytes, written and not is_whole, not (written or is_whole))


def _parse(path: str) -> SegmentName:
    try:
        return parse_path(path)
    except ValueError as error:
        raise FileNotFoundError(path) from error


def _scan(stream: str, folder: Path) -> Iterator[SegmentName]:
    with os.scandir(folder) as entries:
        for entry in entries:
            name = parse_file(stream, entry.name)
            if name is not None and entry.is_file(follow_symlinks=False):
                yield name


def _opened(descriptor: int, path: str) -> OpenFile:
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise FileNotFoundError(path)
    tag = f'"{found.st_ino:x}-{found.st_size:x}-{found.st_mtime_ns:x}"'
    return OpenFile(descriptor, found.st_size, found.st_mtime, tag)
