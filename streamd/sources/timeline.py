"""One clock for a file, whatever its stamps: it begins near 0, goes forward, and keeps picture and sound together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, pairwise
from typing import Any, cast

import av
from av.audio.codeccontext import AudioCodecContext
from av.container import InputContainer
from av.format import Flags
from av.packet import Packet
from av.stream import Stream

BACK_S = 0.1
FORWARD_S = 10.0
"""Further than these is a jump, as ffmpeg(1) has it: its -dts_delta_threshold."""
_FINE = Fraction(1, 10_000)
_USUAL_S = 0.04


class Timeline:
    """Stamps the packets of one reading anew.

    What was joined (``cat a.ts b.ts``), a clock that wraps (33 bits: each 26.5 h), starts again or is far off continues
    where it was. A gap is kept, except where formats for broadcasts leap by more than FORWARD_S. A single stray
    or double stamp takes its place between its neighbours.
    """

    def __init__(self, container: InputContainer) -> None:
        start = container.start_time
        self._offset_s = None if start is None else -start / av.time_base
        self._leaps = bool(container.format.flags & cast(int, Flags.ts_discont.value))
        self._tracks: dict[int, _Track] = {}
        self._reached_s = -math.inf
        """The latest end of a packet since the last jump, in any stream."""

    def placed(self, packets: Iterable[Packet[Any]]) -> Iterator[Packet[Any]]:
        """The same packets, each held back until the next one of its stream shows whether its stamp is a stray."""
        for packet in packets:
            track = self._track(packet)
            held, track.held = track.held, None
            stamp = packet.dts if packet.dts is not None else packet.pts
            raw_s = None if stamp is None else float(stamp * track.base)
            if self._offset_s is None and raw_s is not None:
                self._offset_s = -raw_s
            if held is not None:
                yield self._place(track, held, raw_s)
            if raw_s is None or (track.is_video and packet.dts is None):  # pts go back and forth with B-frames
                yield self._follow(track, packet)
            else:
                track.held = _Held(packet, raw_s, self._offset_s or 0.0)
        for track in self._tracks.values():  # its end was left out: PyAV gives none to streams that come late
            if track.held is not None:
                yield self._place(track, track.held, None)

    def _track(self, packet: Packet[Any]) -> _Track:
        track = self._tracks.get(packet.stream_index)
        if track is None:
            track = self._tracks[packet.stream_index] = _Track(packet)
        return track

    def _place(self, track: _Track, held: _Held, next_raw_s: float | None) -> Packet[Any]:
        packet, offset_s = held.packet, self._offset_s or 0.0
        at_s = held.raw_s + offset_s
        if track.last_s is None:
            if self._leaps and FORWARD_S < abs(at_s - self._reached_s) < math.inf:
                offset_s = self._jump(self._reached_s - held.raw_s)
                at_s = held.raw_s + offset_s
        else:
            # Another stream may have shown a jump since this one came, which may be from before it.
            expected_s = track.expected_s
            offset_s = min(held.offset_s, offset_s, key=lambda offset: abs(held.raw_s + offset - expected_s))
            at_s = held.raw_s + offset_s
            next_s = None if next_raw_s is None else next_raw_s + offset_s
            if is_stray(track.last_s, at_s, next_s):
                own_s, at_s = at_s, between(expected_s, track.last_s, next_s)
                offset_s += 0.0 if track.is_video else at_s - own_s  # of pictures pts counts, which ``steadied`` minds
            elif self._is_jump(track, packet, at_s):
                offset_s = self._jump(self._aligned(track, packet, held.raw_s))
                at_s = held.raw_s + offset_s
        self._note(track, packet, at_s)
        self._shift(track, packet, offset_s)
        return packet

    def _jump(self, offset_s: float) -> float:
        self._offset_s, self._reached_s = offset_s, -math.inf
        return offset_s

    def _follow(self, track: _Track, packet: Packet[Any]) -> Packet[Any]:
        """One without a dts. Sound needs one; of a picture the decoder makes the best."""
        if packet.pts is not None:
            self._shift(track, packet, self._offset_s or 0.0)
        elif packet.size and not track.is_video and track.last_s is not None:
            packet.pts = packet.dts = round(track.expected_s / track.base)
            track.unstamped += 1
        return packet

    def _shift(self, track: _Track, packet: Packet[Any], offset_s: float) -> None:
        shift = round(offset_s / track.base)
        if packet.dts is not None:
            packet.dts += shift
        if packet.pts is not None:
            packet.pts += shift
            end_s = float((packet.pts + (packet.duration or 0)) * track.base)
            track.shown_s = max(track.shown_s, end_s)
            self._reached_s = max(self._reached_s, end_s)

    def _is_jump(self, track: _Track, packet: Packet[Any], at_s: float) -> bool:
        """A gap is none that another packet has already crossed, such as the picture after it that others refer to."""
        assert track.last_s is not None
        if self._leaps:
            late_s = at_s - max(track.expected_s, self._reached_s)
            return at_s < track.last_s - BACK_S or late_s > max(FORWARD_S, 2 * track.interval_s)
        # Sound alone is no clock; and dts go back with B-frames where FFmpeg has made them up.
        return track.is_video and packet.is_keyframe and at_s < track.last_s - BACK_S

    def _aligned(self, track: _Track, packet: Packet[Any], raw_s: float) -> float:
        """The offset with which the first packet after a jump goes on: by when it is shown, where that is known."""
        assert track.last_s is not None
        if packet.is_keyframe and packet.pts is not None and track.shown_s > track.last_s:
            return track.shown_s - float(packet.pts * track.base)
        return track.expected_s - raw_s

    def _note(self, track: _Track, packet: Packet[Any], at_s: float) -> None:
        if packet.duration:
            track.interval_s = float(packet.duration * track.base)
        elif track.last_s is not None and at_s > track.last_s:
            track.interval_s = (at_s - track.last_s) / (1 + track.unstamped)
        track.last_s, track.unstamped = at_s, 0


@dataclass
class _Held:
    packet: Packet[Any]
    raw_s: float
    offset_s: float
    """When it came."""


class _Track:
    def __init__(self, packet: Packet[Any]) -> None:
        self.base = packet.time_base
        self.is_video = packet.stream.type == "video"
        self.held: _Held | None = None
        self.last_s: float | None = None
        """Of the newest packet with a stamp, in order of decoding."""
        self.unstamped = 0
        """Packets since then."""
        self.interval_s = _interval_s(packet.stream)
        self.shown_s = 0.0
        """When the last picture so far ends."""

    @property
    def expected_s(self) -> float:
        return (self.last_s or 0.0) + self.interval_s * (1 + self.unstamped)


def _interval_s(stream: Stream) -> float:
    """Of packets that do not say how long they are."""
    codec = stream.codec_context
    if isinstance(codec, AudioCodecContext) and codec.frame_size and codec.sample_rate:
        return codec.frame_size / codec.sample_rate
    return _USUAL_S


def is_stray(last_s: float, this_s: float, next_s: float | None) -> bool:
    """The one before and the one after agree, and this one does not."""
    return next_s is not None and last_s < next_s and not last_s < this_s < next_s


def between(expected_s: float, last_s: float, next_s: float | None) -> float:
    return expected_s if next_s is None or expected_s < next_s else (last_s + next_s) / 2


def steadied(pictures: Iterable[av.VideoFrame]) -> Iterator[av.VideoFrame]:
    """The same pictures, each with a ``pts`` later than the one before and a ``duration``.

    A missing time follows from the duration of the picture before, a stray or double one from its neighbours; a time
    that goes back for good is a jump, and what follows goes on behind it.
    """
    steady = _Steady()
    for picture, following in pairwise(chain(pictures, [None])):
        assert picture is not None
        steady.stamp(picture, following)
        yield picture


class _Steady:
    def __init__(self) -> None:
        self._guess = _Guess()
        self._seen: tuple[av.VideoFrame, float | None] | None = None
        self._base = Fraction(0)
        self._last: int | None = None
        self._interval_s = self._gap_s = _USUAL_S
        """How long the newest picture is shown, by what it says itself and by the next."""
        self._is_honest = True
        self._offset_s = 0.0

    def stamp(self, picture: av.VideoFrame, following: av.VideoFrame | None) -> None:
        own_s = self._time(picture)
        next_s = None if following is None else self._time(following)
        pts = round(self._place(own_s, next_s) / self._base)
        if self._last is not None:
            pts = max(pts, self._last + 1)
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

    def _time(self, picture: av.VideoFrame) -> float | None:
        """Each picture is looked at twice, but guessed once."""
        if self._seen is None or self._seen[0] is not picture:
            base = picture.time_base or Fraction(1, 90_000)
            if not self._base:
                self._base = base if base < _FINE else base / 100
            stamp = self._guess(picture)
            self._seen = picture, None if stamp is None else float(stamp * base)
        return self._seen[1]


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
