"""The recordings on disk. Everything here blocks: it is for one thread, not for the event loop.

A path is ``STREAM/FILE`` exactly as a recorder names them, so nothing else can be reached: what
does not match is not there, and neither are symbolic links.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from streamd.errors import SinkError
from streamd.sinks.recording.names import SegmentName, is_stream, parse_file, parse_path
from streamd.sinks.recording.segment import is_written

SETTLED_NS = 50_000_000
"""A folder that changed more recently may change again without another time stamp: they come from a coarse clock."""
SETTLED_WHOLE_NS = 2_000_000_000
"""The same on a disk that keeps whole seconds only, or every other one."""


class BeingWritten(SinkError):
    def __init__(self, path: str) -> None:
        self.path = path
        super().__init__(f"{path}: is being recorded: stop the recording first, or wait for the next segment")


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

    version: tuple[int, int] | None
    """Its inode and when it was changed; None when that may not tell the next change."""
    entries: frozenset[str]
    files: frozenset[str]
    """Those that are recordings."""


class Library:
    """The directory that is recorded to. Every method may raise OSError when its disk is away."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._folders: dict[str, _Folder] = {}

    def streams(self) -> list[str]:
        """Those that have a folder."""
        with suppress(FileNotFoundError), os.scandir(self.directory) as entries:
            return [each.name for each in entries if is_stream(each.name) and each.is_dir(follow_symlinks=False)]
        return []

    def files(self, stream: str) -> frozenset[str]:
        """Of the recordings of a stream: the same object until one comes or goes."""
        if not is_stream(stream):
            return frozenset()
        folder = self.directory / stream
        try:
            about = os.stat(folder, follow_symlinks=False)
            if not stat.S_ISDIR(about.st_mode):
                return frozenset()
            known, version = self._folders.get(stream), (about.st_ino, about.st_mtime_ns)
            is_settled = _is_settled(about.st_mtime_ns)  # first: it may change while it is read
            if known is None or known.version != version:
                known = _read(stream, folder, known)
        except FileNotFoundError:
            self._folders.pop(stream, None)
            return frozenset()
        self._folders[stream] = known._replace(version=version if is_settled else None)
        return known.files

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
        return os.stat(f"{self.directory}/{name.path}", follow_symlinks=False)  # of thousands: a Path takes longer

    def is_written(self, name: SegmentName) -> bool:
        """By a recorder, now."""
        return is_written(self.directory / name.path)

    @contextmanager
    def _folder(self, name: SegmentName) -> Iterator[int]:
        """The descriptor of the folder of its stream, which is no link."""
        try:
            folder = os.open(self.directory / name.stream, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except (NotADirectoryError, FileNotFoundError) as error:
            raise FileNotFoundError(name.path) from error
        try:
            yield folder
        finally:
            os.close(folder)


def _parse(path: str) -> SegmentName:
    try:
        return parse_path(path)
    except ValueError as error:
        raise FileNotFoundError(path) from error


def _is_settled(modified_ns: int) -> bool:
    margin_ns = SETTLED_NS if modified_ns % 1_000_000_000 else SETTLED_WHOLE_NS
    return time.time_ns() - modified_ns > margin_ns


def _read(stream: str, folder: Path, known: _Folder | None) -> _Folder:
    """Looks at new entries only: a folder may have thousands, and changes with each segment."""
    before = known or _Folder(None, frozenset(), frozenset())
    entries = frozenset(os.listdir(folder))
    if entries == before.entries:
        return before
    new = {entry for entry in entries - before.entries if parse_file(stream, entry) and _is_regular(folder, entry)}
    return _Folder(None, entries, (before.files & entries) | new)


def _is_regular(folder: Path, entry: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(f"{folder}/{entry}", follow_symlinks=False).st_mode)
    except FileNotFoundError:  # removed meanwhile
        return False


def _opened(descriptor: int, path: str) -> OpenFile:
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        os.close(descriptor)
        raise FileNotFoundError(path)
    tag = f'"{found.st_ino:x}-{found.st_size:x}-{found.st_mtime_ns:x}"'
    return OpenFile(descriptor, found.st_size, found.st_mtime, tag)
