"""Kills the installer before any of its lines."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import streamd.installer
from streamd.errors import StreamdError
from tests.support.installing import Box


@contextmanager
def traced(at_line: Callable[[], None]) -> Iterator[None]:
    """Calls it before each line of the installer."""
    home = str(Path(streamd.installer.__file__).parent)

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        if not frame.f_code.co_filename.startswith(home):
            return None
        if event == "line":
            at_line()
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield
    finally:
        sys.settrace(before)


def latest(folder: Path) -> int:
    """Changes with each file and directory below the folder that does."""
    found = 0
    with os.scandir(folder) as entries:
        for entry in entries:
            found += hash((entry.path, entry.stat(follow_symlinks=False).st_mtime_ns))
            if entry.is_dir(follow_symlinks=False):
                found += latest(Path(entry.path))
    return found


def steps(box: Box, act: Callable[[], None]) -> list[int]:
    """The lines, counted, before which something was done: a file changed or a command run."""
    found, seen, count = [], (0, 0), 0

    def at_line() -> None:
        nonlocal count, seen
        count += 1
        if (now := (len(box.ran), latest(box.root))) != seen:
            found.append(count)
            seen = now

    with traced(at_line):
        try:
            act()
        except StreamdError:
            pass
    return found


def killed(box: Box, line: int, act: Callable[[], None]) -> None:
    """In a process of its own, which is killed before that line."""
    child = os.fork()
    if not child:
        count = 0

        def at_line() -> None:
            nonlocal count
            count += 1
            if count == line:
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            with traced(at_line):
                act()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
