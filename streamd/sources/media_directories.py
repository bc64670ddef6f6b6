"""``server.media_directories``: where files are that streams added by the API may play."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from streamd.errors import SourceRejected, SourceUnreachable


class MediaDirectories:
    """Any thread's."""

    def __init__(self, directories: Sequence[Path] = ()) -> None:
        self._directories = tuple(directories)

    def contains(self, path: str) -> bool:
        """By the path alone, so that the event loop may ask: links are followed when the file is opened."""
        parts = PurePosixPath(path)
        return ".." not in parts.parts and any(parts.is_relative_to(each) for each in self._directories)

    @contextmanager
    def opened(self, path: str, name: str) -> Iterator[int]:
        """A descriptor of the file, which is in one of the directories after all links too. ``name`` is for errors.

        Raises SourceError. What was checked is what is open: a link that changes meanwhile changes nothing.
        """
        try:
            file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # a FIFO would wait for a writer
        except OSError as error:
            kind = SourceRejected if isinstance(error, PermissionError) else SourceUnreachable
            raise kind(name, (error.strerror or "cannot be opened").lower()) from None
        try:
            self._check(file, path, name)
            yield file
        finally:
            os.close(file)

    def _check(self, file: int, path: str, name: str) -> None:
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise SourceRejected(name, "is not a regular file")
        real = os.path.realpath(path)
        is_inside = any(Path(real).is_relative_to(os.path.realpath(each)) for each in self._directories)
        if not is_inside or not _is_same(file, real):
            raise SourceRejected(name, "leads out of server.media_directories by a link")


def _is_same(file: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(file), os.stat(path, follow_symlinks=False))
    except OSError:
        return False


NO_MEDIA = MediaDirectories()
