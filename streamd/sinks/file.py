"""A video file with every depth picture at its source's time, and the source's audio copied."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import av.error
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.video.stream import VideoStream

from streamd.errors import SinkError
from streamd.media.encode import file_options, tag_colours
from streamd.media.frames import Picture

DEFAULT_RATE = Fraction(25)


class FileWriter:
    """Writes beside ``output`` and takes its name at the end, so that a file of that name is always
    whole. A context manager: on KeyboardInterrupt what was made so far is kept. Raises SinkError.
    """

    def __init__(self, output: Path, source: str, rate: Fraction) -> None:
        self._output = output
        self._part = output.with_name(f".{output.stem}.part{output.suffix}")
        self._rate = rate
        self._video: VideoStream | None = None
        try:
            self._source: InputContainer = av.open(source)
        except av.error.FFmpegError as error:
            raise SinkError(f"{source}: {error.strerror}") from error
        try:
            self._container = av.open(str(self._part), "w")
            self._audio = self._copy_audio()
        except (av.error.FFmpegError, ValueError) as error:
            self._source.close()
            self._part.unlink(missing_ok=True)
            raise SinkError(f"{output}: {_reason(error, output)}") from error
        self._packets = self._audio_packets()
        self._waiting: av.Packet[Any] | None = None

    def _copy_audio(self) -> dict[int, AudioStream]:
        copies: dict[int, AudioStream] = {}
        for stream in self._source.streams.audio:
            try:
                copies[stream.index] = self._container.add_stream_from_template(stream)
            except ValueError:
                codec = stream.codec_context.name
                raise ValueError(f"cannot hold {codec} audio: name the output .mkv") from None
        return copies

    def _audio_packets(self) -> Iterator[av.Packet[Any]]:
        """Only such packets as can be copied: with a time."""
        if self._audio:
            for packet in self._source.demux(*(self._source.streams[index] for index in self._audio)):
                if packet.dts is not None:
                    yield packet

    def write(self, picture: Picture, pts: int, time_base: Fraction) -> None:
        """One yuv420p picture, shown at ``pts`` in units of ``time_base``."""
        video = self._video or self._open_video(picture, time_base)
        picture.pts, picture.time_base = pts, time_base
        try:
            self._mux_audio(until_s=float(pts * time_base))
            self._container.mux(video.encode(picture))
        except av.error.FFmpegError as error:
            raise SinkError(f"{self._output}: {_reason(error, self._output)}") from error

    def _open_video(self, picture: Picture, time_base: Fraction) -> VideoStream:
        video = self._video = self._container.add_stream("libx264", rate=self._rate, options=file_options())
        video.width, video.height, video.pix_fmt = picture.width, picture.height, "yuv420p"
        video.codec_context.time_base = video.time_base = time_base
        video.codec_context.thread_count = 1  # the cores are busy with the network
        tag_colours(video.codec_context)
        return video

    def _mux_audio(self, until_s: float | None = None) -> None:
        while (packet := self._waiting or next(self._packets, None)) is not None:
            self._waiting = packet
            assert packet.dts is not None
            if until_s is not None and packet.dts * packet.time_base > until_s:
                return
            packet.stream = self._audio[packet.stream_index]
            self._container.mux(packet)
            self._waiting = None

    def __enter__(self) -> FileWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        keep = (kind is None or kind is KeyboardInterrupt) and self._video is not None
        try:
            if keep and self._video is not None:
                self._container.mux(self._video.encode(None))
                if kind is None:
                    self._mux_audio()
            self._container.close()
        except (av.error.FFmpegError, OSError) as failure:
            keep = False
            if kind is None:
                raise SinkError(f"{self._output}: {_reason(failure, self._output)}") from failure
        finally:
            self._source.close()
            if keep:
                self._part.replace(self._output)
            else:
                self._part.unlink(missing_ok=True)


def _reason(error: Exception, output: Path) -> str:
    if isinstance(error, FileNotFoundError):
        return f"there is no folder {output.parent}"
    if "output format" in str(error):
        return f"the ending {output.suffix or '(none)'} names no video format: use .mp4 or .mkv"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error)
