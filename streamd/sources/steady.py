"""Times of pictures that a player can follow: each later than the one before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fractions import Fraction

import av

from streamd.sources.timeline import BACK_S, USUAL_S, between, is_stray

_FINE = Fraction(1, 10_000)
"""s. A file may count coarser, and have several pictures in one unit."""


def steadied(pictures: Iterable[av.VideoFrame]) -> Iterator[av.VideoFrame]:
    """The same pictures, each with a ``pts`` later than the one before and a ``duration``.

    A missing time follows from the duration of the picture before, a stray or double one from its neighbours; a time
    that goes back for good is a jump, and what follows goes on behind it.
    """
    steady = _Steady()
    timed = ((picture, steady.time(picture)) for picture in pictures)
    picture, own_s = next(timed, (None, None))
    following, next_s = next(timed, (None, None))
    while picture is not None:
        after, after_s = next(timed, (None, None))
        steady.stamp(picture, own_s, next_s, after_s)
        yield picture
        picture, own_s, following, next_s = following, next_s, after, after_s


class _Steady:
    def __init__(self) -> None:
        self._guess = _Guess()
        self._base = Fraction(0)
        self._last: int | None = None
        self._interval_s = self._gap_s = USUAL_S
        """How long the newest picture is shown, by what it says itself and by the next."""
        self._is_honest = True
        self._offset_s = 0.0

    def time(self, picture: av.VideoFrame) -> float | None:
        """What it says itself, in seconds. For each picture once, in order."""
        base = picture.time_base or Fraction(1, 90_000)
        if not self._base:
            self._base = base if base < _FINE else base / 100
        stamp = self._guess(picture)
        return None if stamp is None else float(stamp * base)

    def stamp(self, picture: av.VideoFrame, own_s: float | None, next_s: float | None, after_s: float | None) -> None:
        """By its own time and those of the two that follow."""
        at_s = self._place(own_s, next_s)
        pts = round(at_s / self._base)
        if self._last is not None:
            pts = max(pts, self._last + 1)
        if (
            next_s is not None
            and after_s is not None
            and is_stray(at_s, next_s + self._offset_s, after_s + self._offset_s)
        ):
            next_s = between(at_s + self._interval_s, at_s, after_s + self._offset_s) - self._offset_s
        gap_s = 0.0 if next_s is None else next_s + self._offset_s - float(pts * self._base)
        duration = round(self._duration(picture, gap_s) / self._base)
        picture.pts, picture.time_base, picture.duration = pts, self._base, max(1, duration)
        self._last = pts

    def _duration(self, picture: av.VideoFrame, gap_s: float) -> float:
        """Up to the next one; at the end what the picture says itself, unless the one before was wrong about it:
        Matroska may give all the mean."""
        own_s = float((picture.duration or 0) * (picture.time_base or 0))
        if gap_s > 0:
            self._is_honest = abs(own_s - gap_s) <= gap_s / 2
            self._interval_s, self._gap_s = own_s or gap_s, gap_s
            return gap_s
        self._interval_s = own_s or self._interval_s
        return self._interval_s if self._is_honest else min(self._interval_s, self._gap_s)

    def _place(self, own_s: float | None, next_s: float | None) -> float:
        if self._last is None:
            return own_s or 0.0
        last_s = float(self._last * self._base)
        expected_s = last_s + self._interval_s
        if own_s is None:
            return expected_s
        this_s = own_s + self._offset_s
        following_s = None if next_s is None else next_s + self._offset_s
        if is_stray(last_s, this_s, following_s):
            return between(expected_s, last_s, following_s)
        if this_s < last_s - BACK_S:
            self._offset_s += expected_s - this_s
            return expected_s
        return this_s


class _Guess:
    """pts or dts, whichever went back less often: AVI has no pts, others have bad ones. As FFmpeg's
    ``best_effort_timestamp``, which PyAV does not show."""

    def __init__(self) -> None:
        self._bad_pts = self._bad_dts = 0
        self._pts = self._dts = -(1 << 63)

    def __call__(self, picture: av.VideoFrame) -> int | None:
        pts, dts = picture.pts, picture.dts
        if dts is not None:
            self._bad_dts += dts <= self._dts
            self._dts = dts
        if pts is not None:
            self._bad_pts += pts <= self._pts
            self._pts = pts
        if pts is not None and (dts is None or self._bad_pts <= self._bad_dts):
            return pts
        return dts
