"""A module of ours run to its end in a process of its own, which may be killed, and takes its memory with it."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from streamd.depth.models import ModelSpec
from streamd.depth.process import child_environment
from streamd.errors import DepthError, WeightsRejected

POLL_S = 0.1
REFUSED = 65
"""What a child exits with when weights are at fault: EX_DATAERR of sysexits.h."""

_log = logging.getLogger(__name__)


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


def try_model(
    module: str,
    spec: ModelSpec,
    arguments: Sequence[str],
    *,
    weights: Path,
    timeout_s: float,
    stop: threading.Event | None = None,
    pass_fds: Sequence[int] = (),
) -> None:
    """Runs a module whose ``main`` is ``reported``. A lock among ``pass_fds`` is held by it too: should we be killed,
    the next process waits for it instead of doing the same again. Raises WeightsRejected, DepthError."""
    try:
        ended = run(module, arguments, timeout_s=timeout_s, stop=stop, pass_fds=pass_fds)
    except InterruptedError:
        raise DepthError(f"model {spec.name}: interrupted") from None
    except TimeoutError:
        raise DepthError(f"model {spec.name}: trying it took more than {timeout_s:.0f} s") from None
    _log.debug("%s of %s ended with %s:\n%s", module, spec.name, ended.code, ended.problems)
    if ended.code == REFUSED:
        raise WeightsRejected(str(weights), ended.reason)
    if ended.code:
        raise DepthError(f"model {spec.name}: cannot be tried: {ended.reason}")


@dataclass
class Outcome:
    code: int = 0
    """For the child to exit with."""


@contextmanager
def reported() -> Iterator[Outcome]:
    """In the child: whatever the block raises ends as an exit code, with its reason as the last line on stderr."""
    outcome = Outcome()
    try:
        yield outcome
    except WeightsRejected as error:
        print(error.reason, file=sys.stderr)
        outcome.code = REFUSED
    except Exception as error:
        traceback.print_exc()
        print(f"{type(error).__name__}: {error}".splitlines()[0], file=sys.stderr)
        outcome.code = 1
