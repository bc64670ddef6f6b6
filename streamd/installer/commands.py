"""Runs the programs that an installation needs."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
from collections.abc import Sequence
from typing import Protocol

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


class Run(Protocol):
    def __call__(self, command: Sequence[str], *, watched: bool = False) -> subprocess.CompletedProcess[str]:
        """Raises nothing. ``watched``: its output goes to the terminal of the user."""


def end_with_parent() -> None:
    """In a child before its program starts: when the installer is killed, nothing goes on without its lock."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def run_command(command: Sequence[str], *, watched: bool = False) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "SYSTEMD_PAGER": "", "SYSTEMD_COLORS": "0"}
    try:
        return subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=None if watched else subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            check=False,
            preexec_fn=end_with_parent,
        )
    except OSError as error:  # as a shell reports it
        return subprocess.CompletedProcess(command, 127, "", f"{command[0]}: {error.strerror}")


def print_line(text: str) -> None:
    """At once, so that it comes before the errors that follow it, in a file too."""
    print(text, flush=True)


def error_line(output: str) -> str:
    """The line that matters: pip prints hints after its errors."""
    lines = [line for line in output.splitlines() if line.strip()] or [""]
    errors = [line for line in lines if line.lower().startswith("error")]
    return (errors or lines)[-1].strip()
