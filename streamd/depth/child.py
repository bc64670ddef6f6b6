"""A module of ours run to its end in a process of its own, which may be killed, and takes its memory with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from streamd.depth.process import child_environment

POLL_S = 0.1


@dataclass(frozen=True)
class Ended:
    """What a child left."""

    code: int
    output: str
    problems: str
    """Its standard error. The last line is the reason of a failure."""

    @property
    def reason(self) -> str:
        """Of a ``code`` that is not 0."""
        if self.code < 0:
            return f"killed by {signal.Signals(-self.code).name} (is there enough memory?)"
        return (self.problems.strip().splitlines() or ["it gave no reason"])[-1]


def run(
    module: str,
    arguments: Sequence[str],
    *,
    timeout_s: float,
    stop: threading.Event | None = None,
    environment: Mapping[str, str] = MappingProxyType({}),
    pass_fds: Sequence[int] = (),
) -> Ended:
    """``python -m MODULE ARGUMENTS``, with ``environment`` beside what a child of ours needs of this one's. Blocks.
    Raises TimeoutError, and InterruptedError when ``stop`` is set; the child is killed then."""
    child = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=child_environment(os.environ) | dict(environment),
        text=True,
        errors="replace",
        start_new_session=True,  # a Ctrl-C is ours to handle
        pass_fds=pass_fds,
    )
    give_up_at = time.monotonic() + timeout_s
    try:
        while True:
            try:
                output, problems = child.communicate(timeout=min(POLL_S, timeout_s))
                return Ended(child.returncode, output, problems)
            except subprocess.TimeoutExpired:
                if stop is not None and stop.is_set():
                    raise InterruptedError from None
                if time.monotonic() > give_up_at:
                    raise TimeoutError from None
    finally:
        if child.poll() is None:
            child.kill()
        child.communicate()
