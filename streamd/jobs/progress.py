"""How far a job is: a bar on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import threading
import time
from types import TracebackType
from typing import TextIO

from tqdm import tqdm

PLAIN_EVERY_S = 5.0


class Progress:
    """Any thread. A context manager, which takes the bar away at its end."""

    def __init__(self, total: int | None, unit: str, *, quiet: bool = False, file: TextIO | None = None) -> None:
        """``unit`` is what is counted, as in "frames". ``file`` is standard error unless given."""
        self._file = file or sys.stderr
        self._total, self._unit = total, unit
        self._plain = not quiet and not self._file.isatty()
        self._bar = tqdm(total=total, unit=f" {unit}", disable=quiet or self._plain, file=self._file, leave=False)
        self._lock = threading.Lock()
        self._done = 0
        self._next = time.monotonic() + PLAIN_EVERY_S

    def step(self) -> None:
        """One more is done."""
        with self._lock:
            self._done += 1
            self._bar.update()
            if self._plain and time.monotonic() >= self._next:
                self._next += PLAIN_EVERY_S
                of = f" of {self._total}" if self._total else ""
                print(f"{self._done}{of} {self._unit}", file=self._file, flush=True)

    def say(self, line: str) -> None:
        """A line of its own, above the bar."""
        with self._lock:
            self._bar.clear()
            print(line, file=self._file, flush=True)
            self._bar.refresh()

    def __enter__(self) -> Progress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.close()
