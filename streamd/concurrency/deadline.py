"""One time for the whole end of the process, which all its steps share."""

from __future__ import annotations

import math
import time


class Deadline:
    """Far away until it is ``start``ed. Any thread."""

    def __init__(self, within_s: float) -> None:
        """``within_s``: from the start."""
        self._within_s = within_s
        self._at = math.inf

    def start(self) -> None:
        """Safe to repeat: the first time counts."""
        self._at = min(self._at, time.monotonic() + self._within_s)

    def left_s(self, max_s: float, *, min_s: float = 0.0) -> float:
        """How long a step may take that usually has ``max_s``. ``min_s`` is for one that comes late."""
        return max(min_s, min(max_s, self._at - time.monotonic()))
