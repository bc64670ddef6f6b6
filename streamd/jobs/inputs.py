"""What a job reads: a file, or a pipe, which is copied first, since files are opened more than once."""

from __future__ import annotations

import os
import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from streamd.config.redact import redact_source
from streamd.errors import PictureError, SourceError, SourceRejected, SourceUnreachable, SourceUnsupported
from streamd.host.whole_file import phrase

MAX_PICTURE_BYTES = 1 << 28
_BLOCK_BYTES = 1 << 20
_MAX_ENDING = 16
_DESCRIPTOR = re.compile(r"/dev/std(?P<name>in)|/(?:dev|proc/(?:self|thread-self))/fd/(?P<number>\d+)")


@contextmanager
def spooled(path: str) -> Iterator[str]:
    """The path of a file, or of a copy of what comes through a pipe or a socket, which goes with the block. A copy may
    take half of what is free in the folder for temporary files.

    Waits for the writer of a pipe, until Ctrl-C. Raises SourceError; those of the block name ``path``, too.
    """
    try:
        mode = os.stat(path).st_mode
    except OSError:
        mode = stat.S_IFREG  # who opens it says what is wrong
    if not stat.S_ISFIFO(mode) and not (stat.S_ISSOCK(mode) and _DESCRIPTOR.fullmatch(path)):
        yield path
        return
    with _temporary_folder(path) as folder:
        copy = Path(folder, f"pipe{Path(path).suffix[:_MAX_ENDING]}")
        _copy(path, copy, shutil.disk_usage(folder).free // 2)
        try:
            yield str(copy)
        except SourceError as error:
            raise type(error)(redact_source(path), error.reason) from error


def _temporary_folder(path: str) -> tempfile.TemporaryDirectory[str]:
    try:
        return tempfile.TemporaryDirectory(prefix="streamd-")
    except OSError as error:
        reason = f"is a pipe, and no folder for a copy can be written ({phrase(error)}): set TMPDIR"
        raise SourceUnreachable(redact_source(path), reason) from None


def read_picture_file(path: str) -> bytes:
    """Also through a pipe. Raises SourceError, PictureError when it is larger than any picture."""
    with _opened(path) as file:
        data = file.read(MAX_PICTURE_BYTES + 1)
    if len(data) > MAX_PICTURE_BYTES:
        raise PictureError(f"is larger than {MAX_PICTURE_BYTES >> 20} MB: no picture has so much")
    return data


def _copy(path: str, copy: Path, limit_bytes: int) -> None:
    with _opened(path) as pipe, copy.open("xb") as file:
        while block := pipe.read(_BLOCK_BYTES):
            limit_bytes -= len(block)
            if limit_bytes < 0:
                reason = f"does not end, or is too large for {tempfile.gettempdir()}: make a file of it, or set TMPDIR"
                raise SourceUnsupported(redact_source(path), reason)
            file.write(block)


@contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    name = redact_source(path)
    try:
        with open(_descriptor(path), "rb") as file:
            if file.isatty():
                raise SourceUnsupported(name, "is a terminal: name a file, or pipe one in")
            yield file
    except PermissionError as error:
        raise SourceRejected(name, phrase(error)) from None
    except OSError as error:
        raise SourceUnreachable(name, phrase(error)) from None


def _descriptor(path: str) -> str | int:
    """Of one that is open already, itself: a socket cannot be opened by its name."""
    found = _DESCRIPTOR.fullmatch(path)
    return os.dup(int(found["number"] or 0)) if found else path
