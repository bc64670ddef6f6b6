"""Whether decoding keeps up, and what to leave out when it does not.

A camera sends at its own pace. When a picture takes longer to decode than the next takes to come, packets pile up
in the socket, and the picture grows older the longer one watches.
"""

from __future__ import annotations

from typing import Literal

Skip = Literal["DEFAULT", "NONREF", "NONKEY"]
"""FFmpeg's names: decode all, all that others refer to, only keyframes."""

JUMP_S = 1.0
WINDOW_S = 20.0
BEHIND_S, FAR_BEHIND_S, CAUGHT_UP_S = 0.5, 1.5, 0.15
IDLE_SHARE = 0.25
"""A thread that waits for packets longer than this share of its time has no backlog."""
KEYFRAME_WAIT_S = 5.0
SKIPPING_S = 0.2


class Lag:
    """How much later packets come than they did at best, s.

    The best is that of the last ``WINDOW_S``, so that the drift of a camera's clock is not taken for lag; while
    decoding is behind, the window stands still, so that a lag that stays is not taken for normal.
    """

    def __init__(self) -> None:
        self._last_s: float | None = None
        self._best = self._best_before = float("inf")
        self._turn_at = 0.0

    def measure(self, now_s: float, time_s: float | None, *, hold: bool) -> float:
        """0.0 after a jump, a step back or a missing time: what was known before means nothing then."""
        last_s, self._last_s = self._last_s, time_s
        if time_s is None:
            return 0.0
        if last_s is None or not 0 <= time_s - last_s <= JUMP_S:
            self._best = self._best_before = float("inf")
            self._turn_at = now_s + WINDOW_S / 2
        elif now_s >= self._turn_at and not hold:
            self._best_before, self._best = self._best, float("inf")
            self._turn_at = now_s + WINDOW_S / 2
        self._best = min(self._best, now_s - time_s)
        return now_s - time_s - min(self._best, self._best_before)


class FrameSkipper:
    """Chooses what the decoder leaves out. Pure: the time comes as an argument."""

    def __init__(self) -> None:
        self._lag = Lag()
        self._idle_share = 1.0
        self._now_s: float | None = None
        self._caught_up_s: float | None = None
        self.skip: Skip = "DEFAULT"

    def choose(self, now_s: float, time_s: float | None, waited_s: float, *, keyframe: bool) -> Skip:
        """``time_s`` is the packet's dts, else its pts; ``waited_s`` how long the thread had nothing to decode."""
        if self._now_s is not None and (passed_s := now_s - self._now_s) > 0:
            weight = min(1.0, passed_s)  # about the last second
            self._idle_share += weight * (min(1.0, waited_s / passed_s) - self._idle_share)
        self._now_s = now_s
        busy = self._idle_share < IDLE_SHARE
        lag_s = self._lag.measure(now_s, time_s, hold=busy)
        if not busy or lag_s < CAUGHT_UP_S:
            self._recover(now_s, keyframe)
        else:
            self._caught_up_s = None
            if lag_s > FAR_BEHIND_S:
                self.skip = "NONKEY"
            elif lag_s > BEHIND_S and self.skip == "DEFAULT":
                self.skip = "NONREF"
        return self.skip

    def _recover(self, now_s: float, keyframe: bool) -> None:
        """To decode all. From keyframes only: at a keyframe, for the others have nothing to refer to; but some
        cameras send none."""
        if self._caught_up_s is None:
            self._caught_up_s = now_s
        if self.skip != "NONKEY" or keyframe or now_s - self._caught_up_s > KEYFRAME_WAIT_S:
            self.skip = "DEFAULT"


class Backlog:
    """Chooses when Motion JPEG is only read, not decoded: none of its pictures refers to another, and what piles up has
    no times to tell its age by. Pure: the time comes as an argument."""

    def __init__(self) -> None:
        self._since_s: float | None = None
        """When there was nothing to read last, or skipping began."""
        self._skip_until_s = 0.0

    def note_dry(self, now_s: float) -> None:
        """All that the camera has sent was read."""
        self._since_s, self._skip_until_s = now_s, 0.0

    def is_late(self, now_s: float) -> bool:
        """Of a picture that was read just now, and may not be the newest."""
        if self._since_s is None:
            self._since_s = now_s
        if now_s - self._since_s > BEHIND_S:  # for a while: a picture now and then is seen, whatever comes
            self._since_s, self._skip_until_s = now_s, now_s + SKIPPING_S
        return now_s < self._skip_until_s
