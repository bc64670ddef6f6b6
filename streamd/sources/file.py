"""Files: played like a camera, in a loop, or every frame as fast as it goes."""

from __future__ import annotations

import errno
import logging
import math
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from importlib import resources
from typing import Any, cast

import av
import av.error
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.container.core import Flags as ContainerFlags
from av.format import Flags
from av.packet import Packet
from av.stream import Discard
from av.video.stream import VideoStream

from streamd.config.sections import StreamConfig
from streamd.errors import SourceError, SourceUnsupported
from streamd.sources.base import Source
from streamd.sources.formats import MEDIA_FORMATS
from streamd.sources.media_directories import NO_MEDIA, MediaDirectories
from streamd.sources.regular import require_regular
from streamd.sources.steady import steadied
from streamd.sources.timeline import Timeline
from streamd.sources.unreadable import why_unreadable

log = logging.getLogger(__name__)

LATE_S = 1.0
"""Behind by more than this, play on from now instead of catching up."""
WITHIN = 0.75
"""Of a file its video reaches further than this, unless it goes on in another stream."""
_UNREADABLE = (av.error.InvalidDataError, av.error.ArgumentError)
"""The second is what FFmpeg gives for formats that are not MEDIA_FORMATS."""


@dataclass(frozen=True)
class FileInfo:
    """What the headers of a file contain; a hint, not a promise."""

    width: int
    height: int
    rate: Fraction | None
    frames: int | None


class FileSource(Source):
    live = False

    def __init__(
        self,
        config: StreamConfig,
        stop: threading.Event,
        threads: int = 1,
        media: MediaDirectories = NO_MEDIA,
    ) -> None:
        super().__init__(config, stop, threads)
        self._media = media
        self.sounds: Sequence[AudioStream] = ()
        """What of an opened file is wanted beside its video."""
        self.on_sound: Callable[[Packet[Any]], None] = lambda packet: None
        """Called with each packet of ``sounds``, by the thread that iterates."""

    @property
    def path(self) -> str:
        return self.address.path

    @property
    def url(self) -> str:
        """With "file:", else FFmpeg takes what is before a colon for a protocol."""
        return f"file:{self.path}"

    @contextmanager
    def opened_file(self) -> Iterator[InputContainer]:
        """Only this file: FFmpeg may open nothing else for it. Raises SourceError."""
        if self.address.scheme:
            raise SourceUnsupported(self.name, "is not a file: `streamd run` plays cameras and other addresses")
        # A broadcast's streams may move to other PIDs.
        options = {"format_whitelist": MEDIA_FORMATS, "merge_pmt_versions": "1"}
        if not self._media.contains(self.path):
            require_regular(self.path, self.name)
            with self.opened(self.url, options=options | {"protocol_whitelist": "file"}) as container:
                yield _with_own_times(container)
            return
        with self._media.opened(self.path, self.name) as file:
            options |= {"protocol_whitelist": "fd", "fd": str(file)}
            with self.opened("fd:", options=options) as container:
                yield _with_own_times(container)

    def explain(self, error: Exception, *, opening: bool, elapsed_s: float) -> SourceError:
        if isinstance(error, av.error.FFmpegError) and error.errno == errno.EPERM:  # FFmpeg's -1, for anything
            return SourceUnsupported(self.name, "is not a video that can be decoded")
        if opening and isinstance(error, _UNREADABLE):
            return SourceUnsupported(self.name, why_unreadable(self.path))
        return super().explain(error, opening=opening, elapsed_s=elapsed_s)

    @property
    def loop(self) -> bool:
        return self.config.loop

    def probe(self) -> FileInfo:
        """Opens the file and reads its headers. Raises SourceError unless it has video."""
        with self.opened_file() as container:
            return self.describe(container)

    def describe(self, container: InputContainer) -> FileInfo:
        """Raises SourceUnsupported unless it has video."""
        video = self.chosen(container)
        # Where nothing has a time, the average is FFmpeg's default, and the coded rate is what there is.
        bare = container.format.flags & cast(int, Flags.no_timestamps.value)
        rate = (video.guessed_rate if bare else None) or video.average_rate
        frames = video.frames
        if not frames and container.duration and rate:
            frames = round(container.duration / av.time_base * rate)
        return FileInfo(video.width, video.height, rate, frames or None)

    def frames(self) -> Generator[av.VideoFrame]:
        pace = Pace()
        while True:
            with self.opened_file() as container:  # anew for each round: not everything can be rewound
                for picture in self.pictures(container):
                    if self.stop.wait(pace.delay(picture) if self.config.realtime else 0):
                        return
                    yield picture
            if not self.loop or self.stop.is_set():
                return
            pace.restart()

    def pictures(self, container: InputContainer) -> Iterator[av.VideoFrame]:
        """All of them, by the clock of ``Timeline``; meanwhile ``sounds`` go to ``on_sound``."""
        count = 0
        for picture in steadied(self.decoded(container)):
            count += 1
            yield picture
        if count == 0 and not self.stop.is_set():
            raise SourceUnsupported(self.name, "has no pictures that can be decoded")

    def packets(self, container: InputContainer, stream: VideoStream) -> Iterator[Packet[Any]]:
        for sound in self.sounds:
            sound.discard = Discard.default
        end = 0
        for packet in Timeline(container).placed(self._demuxed(container, stream)):
            if packet.stream.index == stream.index:
                if packet.has_sidedata("encryption_info"):  # without its key FFmpeg makes noise of it
                    raise SourceUnsupported(self.name, "is encrypted: only who has its key can play it")
                end = max(end, packet.pos or 0)
                yield packet
            elif packet.size:
                self.on_sound(packet)
        may_move = container.format.name == "mpegts" and len(container.streams.video) > 1
        if may_move and container.size > end / WITHIN:
            self._leave_out_rest()

    def _demuxed(self, container: InputContainer, video: VideoStream) -> Iterator[Packet[Any]]:
        try:
            yield from container.demux(video, *self.sounds)
        except IndexError:  # PyAV's, at the end, when there are more streams than at the beginning
            self._leave_out_rest()

    def _leave_out_rest(self) -> None:
        log.warning("%s: what is in other streams behind the end of its video is left out", self.name)


def _with_own_times(container: InputContainer) -> InputContainer:
    """PyAV asks FFmpeg to make up pts, which are wrong where B-frames have none (AVI)."""
    container.flags &= ~cast(int, ContainerFlags.gen_pts.value)
    return container


class DemoSource(FileSource):
    """The built-in clip, for ever."""

    loop = True

    @property
    def path(self) -> str:
        return str(resources.files("streamd") / "assets" / "demo.mp4")


class Pace:
    """When each picture of a file is due."""

    def __init__(self, longest_s: float = math.inf) -> None:
        """A picture is shown no longer than this: its time has leapt."""
        self._longest_s = longest_s
        self._began_s: float | None = None
        """When the first picture of this round was due."""
        self._first_s: float | None = None
        """Its time in the file."""
        self._end_s = 0.0

    def delay(self, picture: av.VideoFrame) -> float:
        """Seconds to wait before showing it, never negative. Of a file, its times are those of ``steadied``."""
        now, shown_s = time.monotonic(), picture.time or 0.0
        if self._began_s is None:
            self._began_s = now
        if self._first_s is None:
            self._first_s = shown_s
        self._end_s = shown_s + float(picture.duration * (picture.time_base or 0))
        delay_s = self._began_s + shown_s - self._first_s - now
        if not -LATE_S <= delay_s <= self._longest_s:  # we were held up, or it leapt
            self._began_s -= delay_s
            return 0.0
        return max(0.0, delay_s)

    def restart(self) -> None:
        """The file begins again when its last picture ends."""
        if self._began_s is not None and self._first_s is not None:
            self._began_s += self._end_s - self._first_s
            self._first_s = None
