"""Standard input, output and error of a command, whatever it was started with: closed, a full disk, a reader gone."""

from __future__ import annotations

import io
import os
import sys
from typing import Any

from streamd.errors import StreamdError
from streamd.host.whole_file import phrase


class OutputLost(StreamdError):
    """What was printed is nowhere."""


def set_up() -> None:
    """First of all: what is opened while one of the three is closed would get its number, and what others print."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))
    sys.stdout = _text(_Output(1, "wb", closefd=False), sys.stdout)
    sys.stderr = _text(_Diagnostics(2, "wb", closefd=False), sys.stderr)


def drop_output() -> None:
    """What has been printed and nobody took: else it would be tried again at the very end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


class _Output(io.FileIO):
    """Raises BrokenPipeError when its reader has seen enough, else OutputLost."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputLost(f"standard output: {phrase(error)}") from None


class _Diagnostics(io.FileIO):
    """Loses what it cannot write, now or at all: a job goes on without anybody who reads how."""

    def write(self, data: Any, /) -> int:
        try:
            written: int | None = super().write(data)
        except OSError:
            written = None
        return len(data) if written is None else written


def _text(raw: io.FileIO, like: Any) -> io.TextIOWrapper:
    """A name of a file may have bytes that are no text: they are shown escaped."""
    line_by_line = raw.isatty() or raw.fileno() == 2
    buffer = io.BufferedWriter(raw)
    return io.TextIOWrapper(buffer, like.encoding, "backslashreplace", line_buffering=line_by_line)
