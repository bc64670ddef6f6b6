"""Pictures that streams have brought lately, for when their network is to be quantised. In memory only."""

from __future__ import annotations

import threading
import time

import numpy as np

from streamd.depth.int8.scenes import Take
from streamd.media.frames import FloatImage

FIRST_EVERY_S = 2.0
PAIR_S = 10.0
"""The second picture of a take comes within this: of a still scene the network sees few."""
MAX_TAKES = 32
MAX_BYTES = 64 << 20


class Album:
    """Takes of two pictures, spread over all the time since it was opened. Any thread may call any method.

    A full album lets go of every second take, and takes half as many from then on."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._of: object = None
        self._takes: list[Take] = []
        self._halves: dict[str, tuple[float, FloatImage]] = {}
        self._every_s = FIRST_EVERY_S
        self._due: dict[str, float] = {}

    def open(self, of: object) -> None:
        """For the input of one network: what is in it of another is let go."""
        with self._lock:
            if self._of != of:
                self._of = of
                self._empty()

    def close(self) -> None:
        """Lets everything go, and takes nothing more."""
        with self._lock:
            self._of = None
            self._empty()

    def _empty(self) -> None:
        self._takes, self._halves, self._every_s, self._due = [], {}, FIRST_EVERY_S, {}

    def offer(self, of: object, source: str, planes: FloatImage) -> None:
        """(3, h, w): each picture of a stream. Copies the few that are taken."""
        now = time.monotonic()
        if self._of != of or (now < self._due.get(source, now) and source not in self._halves):
            return
        with self._lock:
            if self._of != of:
                return
            then, first = self._halves.pop(source, (0.0, planes))
            if now - then < PAIR_S and first.shape == planes.shape:
                self._add(Take(source, np.stack([first, planes.astype(np.float16)])))
            elif now >= self._due.get(source, now):
                self._due[source] = now + self._every_s
                self._halves[source] = now, planes.astype(np.float16)

    def _add(self, take: Take) -> None:
        self._takes.append(take)
        if len(self._takes) >= MAX_TAKES or sum(take.planes.nbytes for take in self._takes) > MAX_BYTES:
            del self._takes[::2]
            self._every_s *= 2

    def takes(self) -> list[Take]:
        with self._lock:
            return list(self._takes)
