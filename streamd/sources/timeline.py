"""One clock for a file, whatever its stamps: it begins near 0, goes forward, and keeps picture and sound together."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
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
USUAL_S = 0.04


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
            if packet.is_discard:  # beyond what an edit list shows: its time is also that of another
                if held is not None:
                    yield self._place(track, held, None)
                _shift(packet, track.base, self._offset_s or 0.0)
                yield packet
                continue
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
        track = self._tracks.get(packet.stream.index)
        if track is None:
            track = self._tracks[packet.stream.index] = _Track(packet)
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
                placed_s = between(expected_s, track.last_s, next_s)
                if not track.is_video:
                    offset_s += placed_s - at_s
                track.note(packet, placed_s)
                _shift(packet, track.base, offset_s)  # of a picture its pts counts, which ``steadied`` minds
                return packet
            if self._is_jump(track, packet, at_s):
                offset_s = self._jump(self._aligned(track, packet, held.raw_s))
                at_s = held.raw_s + offset_s
        track.note(packet, at_s)
        _shift(packet, track.base, offset_s)
        self._reached_s = max(self._reached_s, track.reach(packet))
        return packet

    def _jump(self, offset_s: float) -> float:
        self._offset_s, self._reached_s = offset_s, -math.inf
        return offset_s

    def _follow(self, track: _Track, packet: Packet[Any]) -> Packet[Any]:
        """One without a dts. Sound needs one; of a picture the decoder makes the best."""
        if packet.pts is not None:
            _shift(packet, track.base, self._offset_s or 0.0)
            self._reached_s = max(self._reached_s, track.reach(packet))
        elif packet.size and not track.is_video and track.last_s is not None:
            packet.pts = packet.dts = round(track.expected_s / track.base)
            track.unstamped += 1
        return packet

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
        if packet.is_keyframe and packet.pts is not None and 0 < track.shown_s - track.last_s < FORWARD_S:
            return track.shown_s - float(packet.pts * track.base)
        return track.expected_s - raw_s


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

    def note(self, packet: Packet[Any], at_s: float) -> None:
        if packet.duration:
            self.interval_s = float(packet.duration * self.base)
        elif self.last_s is not None and at_s > self.last_s:
            self.interval_s = (at_s - self.last_s) / (1 + self.unstamped)
        self.last_s, self.unstamped = at_s, 0

    def reach(self, packet: Packet[Any]) -> float:
        """Notes when it ends."""
        if packet.pts is not None:
            self.shown_s = max(self.shown_s, float((packet.pts + (packet.duration or 0)) * self.base))
        return self.shown_s

    @property
    def expected_s(self) -> float:
        return (self.last_s or 0.0) + self.interval_s * (1 + self.unstamped)


def _shift(packet: Packet[Any], base: Fraction, by_s: float) -> None:
    ticks = round(by_s / base)
    if packet.dts is not None:
        packet.dts += ticks
    if packet.pts is not None:
        packet.pts += ticks


def _interval_s(stream: Stream) -> float:
    """Of packets that do not say how long they are."""
    codec = stream.codec_context
    if isinstance(codec, AudioCodecContext) and codec.frame_size and codec.sample_rate:
        return codec.frame_size / codec.sample_rate
    return USUAL_S


def is_stray(last_s: float, this_s: float, next_s: float | None) -> bool:
    """The one before and the one after agree, and this one does not."""
    return next_s is not None and last_s < next_s and not last_s < this_s <= next_s


def between(expected_s: float, last_s: float, next_s: float | None) -> float:
    return expected_s if next_s is None or expected_s < next_s else (last_s + next_s) / 2
