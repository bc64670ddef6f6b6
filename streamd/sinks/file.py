"""A video file with every depth picture at its source's time, and the source's sound copied."""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast

import av
import av.error
import cv2
from av.audio.stream import AudioStream
from av.codec.context import Flags
from av.format import Flags as Format
from av.packet import Packet
from av.video.stream import VideoStream

from streamd.errors import SinkError
from streamd.host.whole_file import WholeFile, phrase
from streamd.media import depth16
from streamd.media.encode import file_options, tag_colours
from streamd.media.frames import FloatImage, Picture, Scaler, canvas, yuv_planes
from streamd.sinks.endings import add_copy

DEFAULT_RATE = Fraction(25)
MAX_WAITING_BYTES = 64 << 20
"""Of sound for pictures that are not there yet. What is beyond goes ahead of them, and is left out before the first."""
PRIMING_PACKETS = 3
"""That are not heard, before the beginning of sound: its decoder wants one or two."""
_COUNTED = ("avi",)
"""Formats without times: each picture is as long as another."""
_REFUSED = (av.error.InvalidDataError, av.error.ArgumentError)


class FileWriter:
    """Writes beside ``output`` and takes its name at the end, so that a file of that name is always
    whole. A context manager: on KeyboardInterrupt what was made so far is kept. Raises SinkError.
    """

    def __init__(
        self,
        output: Path,
        rate: Fraction,
        sounds: Sequence[AudioStream] = (),
        on_remark: Callable[[str], None] = lambda remark: None,
    ) -> None:
        """``sounds`` are streams of an open input that the output can hold. ``on_remark`` is told once of what
        does not look as in the source."""
        self._output = output
        self._on_remark = on_remark
        try:
            self._file = WholeFile(output)
        except OSError as error:
            raise SinkError(f"{output}: {phrase(error)}") from error
        try:
            self._container = av.open(str(self._file.part), "w")
            self._counted = self._container.format.name in _COUNTED
            self._video = self._add_video(rate)
            self._sounds = {sound.index: add_copy(self._container, sound) for sound in sounds}
        except BaseException as error:
            self._file.discard()
            if isinstance(error, av.error.FFmpegError | ValueError):
                raise SinkError(f"{output}: {_reason(error)}") from error
            raise
        self._rate = rate
        self._lock = threading.Lock()
        """Of the container."""
        self._waiting: deque[Packet[Any]] = deque()
        self._waiting_bytes = 0
        self._sound_dts: dict[int, int] = {}
        self._sound_count = self._refused_count = 0
        self._size: tuple[int, int] | None = None
        self._scaler = Scaler()
        self._last_pts = -(1 << 62)
        self._step = 1
        """Between pictures, at least, in units of the encoder: some formats take no two in one unit of theirs."""
        self._sound_step = 0
        """Between packets of sound, in units of the output."""
        self._end_s = 0.0

    def sound(self, packet: Packet[Any]) -> None:
        """A packet of one of ``sounds``, by the clock of the pictures. Any thread."""
        if packet.dts is None:
            return
        if packet.is_discard and not -PRIMING_PACKETS * (packet.duration or 0) <= packet.dts < 0:
            return
        with self._lock:
            if self._size is None and self._waiting_bytes > MAX_WAITING_BYTES:
                return
            self._waiting.append(packet)
            self._waiting_bytes += packet.size
            if self._waiting_bytes > MAX_WAITING_BYTES and self._size is not None:
                self._mux_sound(None)

    def write(self, picture: Picture, pts: int, time_base: Fraction, duration: int = 0) -> None:
        """One yuv420p picture, shown at ``pts`` for ``duration``, both in units of ``time_base``; each later
        than the last."""
        with self._lock:
            if self._size is None:
                self._begin(picture, time_base)
            picture = self._fitted(picture)
            if self._counted:
                pts, duration = round(pts * time_base * self._rate), 1
            pts = self._last_pts = max(pts, self._last_pts + self._step)
            base = self._video.codec_context.time_base
            picture.pts, picture.time_base, picture.duration = pts, base, duration
            self._mux_sound(until_s=float(pts * base))
            self._mux(self._packets(picture))
            self._end_s = float((pts + duration) * base)

    def _add_video(self, rate: Fraction) -> VideoStream:
        return self._container.add_stream("libx264", rate=rate, options=file_options())

    def _prepare(self, width: int, height: int, time_base: Fraction) -> None:
        """The encoder, before it begins."""
        context = self._video.codec_context
        self._video.width, self._video.height, self._video.pix_fmt = width, height, "yuv420p"
        context.time_base = self._video.time_base = 1 / self._rate if self._counted else time_base
        context.thread_count = 1  # the cores are busy with the network
        context.flags |= Flags.frame_duration
        tag_colours(context)

    def _packets(self, picture: Picture) -> list[Packet[Any]]:
        return list(self._video.encode(picture))

    def _begin(self, picture: Picture, time_base: Fraction) -> None:
        context = self._video.codec_context
        self._prepare(picture.width, picture.height, time_base)
        self._size = picture.width, picture.height
        try:
            self._container.start_encoding()
        except av.error.ExternalError as error:
            size = f"{picture.width}x{picture.height}"
            raise SinkError(f"{self._output}: the encoder of H.264 takes no pictures of {size}") from error
        except (av.error.FFmpegError, OSError) as error:
            raise SinkError(f"{self._output}: {_reason(error)}") from error
        if not self._container.format.flags & cast(int, Format.ts_nonstrict.value):
            self._sound_step = 1
            self._step = math.ceil((self._video.time_base or 0) / context.time_base)

    def _fitted(self, picture: Picture) -> Picture:
        """Of the size of the first, between bars where the shape is another."""
        assert self._size is not None
        if (picture.width, picture.height) == self._size:
            return picture
        width, height = self._size
        self._remark_once(f"the size of the picture changes: all are fitted into {width}x{height}, that of the first")
        scale = min(width / picture.width, height / picture.height)
        inner_width, inner_height = (max(2, 2 * round(side * scale / 2)) for side in (picture.width, picture.height))
        fitted = canvas(width, height)
        inner = self._scaler.yuv420(picture, inner_width, inner_height)
        left, top = (width - inner_width) // 4, (height - inner_height) // 4
        for plane, source, black, step in zip(
            yuv_planes(fitted), yuv_planes(inner), (16, 128, 128), (2, 1, 1), strict=True
        ):
            plane[:] = black
            rows, columns = source.shape
            plane[top * step : top * step + rows, left * step : left * step + columns] = source
        return fitted

    def _remark_once(self, remark: str) -> None:
        self._on_remark(remark)
        self._on_remark = lambda remark: None

    def _mux_sound(self, until_s: float | None) -> None:
        """Those up to ``until_s``; all, without. In order for each stream: muxers want each dts later than the last."""
        while self._waiting:
            packet = self._waiting[0]
            assert packet.dts is not None
            if until_s is not None and packet.dts * packet.time_base > until_s:
                return
            self._waiting.popleft()
            self._waiting_bytes -= packet.size
            number, stream = packet.stream_index, self._sounds[packet.stream_index]
            # In the output's units: where its own are coarse, packets may be shorter (TrueHD in Matroska).
            in_units = packet.time_base / (stream.time_base or packet.time_base)
            shown = packet.dts if packet.pts is None else packet.pts
            dts = round(packet.dts * in_units)
            dts = self._sound_dts[number] = max(dts, self._sound_dts.get(number, dts - 1) + self._sound_step)
            packet.duration = round((packet.duration or 0) * in_units)
            packet.dts, packet.pts = dts, max(round(shown * in_units), dts)
            packet.stream, packet.time_base = stream, stream.time_base or packet.time_base
            self._sound_count += 1
            self._mux([packet])

    def _mux(self, packets: list[Packet[Any]]) -> None:
        for packet in packets:
            try:
                self._container.mux_one(packet)
            except _REFUSED as error:
                # Of sound that is damaged; FFmpeg holds it back and may report it at the next picture.
                self._refused_count += 1
                if self._refused_count > self._sound_count:
                    raise SinkError(f"{self._output}: {_reason(error)}") from error
            except (av.error.FFmpegError, OSError) as error:
                raise SinkError(f"{self._output}: {_reason(error)}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        keep = (kind is None or kind is KeyboardInterrupt) and self._size is not None
        try:
            with self._lock:
                if keep:
                    self._mux(self._video.encode(None))
                    self._mux_sound(None if kind is None else self._end_s)
                self._container.close()
            if keep:
                self._file.commit()
        except (av.error.FFmpegError, OSError, SinkError) as failure:
            if kind is None:
                raise SinkError(f"{self._output}: {_reason(failure)}") from failure
        finally:
            self._file.discard()  # unless it is in its place


class DepthFileWriter(FileWriter):
    """The same for depth16 (see ``media/depth16.py``): what the network gave of each frame, and when."""

    def _add_video(self, rate: Fraction) -> VideoStream:
        self._tracks = depth16.Tracks(self._container, rate)
        self._scale = depth16.Scale(0.0, 0.0)
        return self._tracks.video

    def _prepare(self, width: int, height: int, time_base: Fraction) -> None:
        self._tracks.size(width, height, time_base)

    def _packets(self, picture: Picture) -> list[Packet[Any]]:
        return self._tracks.packets(picture, self._scale)

    def write_depth(self, depth: FloatImage, pts: int, time_base: Fraction, duration: int = 0) -> None:
        """(h, w) float32, as ``write`` takes a picture; enlarged or shrunk to the size of the first."""
        height, width = depth.shape
        if self._size not in (None, (width, height)):
            assert self._size is not None
            self._remark_once("the size of the picture changes: all depth is brought to that of the first")
            depth = cv2.resize(depth, self._size, interpolation=cv2.INTER_LINEAR)
        codes, self._scale = depth16.quantise(depth)
        self.write(depth16.picture_of(codes), pts, time_base, duration)


def _reason(error: Exception) -> str:
    return phrase(error) if isinstance(error, OSError) else getattr(error, "strerror", None) or str(error)
