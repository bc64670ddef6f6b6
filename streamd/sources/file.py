"""Files: played like a camera, in a loop, or every frame as fast as it goes."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from importlib import resources

import av
from av.container import InputContainer

from streamd.config.sections import StreamConfig
from streamd.errors import SourceUnsupported
from streamd.sources.base import Source
from streamd.sources.formats import MEDIA_FORMATS
from streamd.sources.media_directories import NO_MEDIA, MediaDirectories
from streamd.sources.regular import require_regular

LATE_S = 1.0
"""Behind by more than this, play on from now instead of catching up."""


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
        options = {"format_whitelist": MEDIA_FORMATS}
        if not self._media.contains(self.path):
            require_regular(self.path, self.name)
            with self.opened(self.url, options=options | {"protocol_whitelist": "file"}) as container:
                yield container
            return
        with self._media.opened(self.path, self.name) as file:
            options |= {"protocol_whitelist": "fd", "fd": str(file)}
            with self.opened("fd:", options=options) as container:
                yield container

    @property
    def loop(self) -> bool:
        return self.config.loop

    def probe(self) -> FileInfo:
        """Opens the file and reads its headers. Raises SourceError unless it has video."""
        with self.opened_file() as container:
            video = self.chosen(container)
            frames = video.frames
            if not frames and container.duration and video.average_rate:
                frames = round(container.duration / av.time_base * video.average_rate)
            return FileInfo(video.width, video.height, video.average_rate, frames or None)

    def frames(self) -> Generator[av.VideoFrame]:
        pace = Pace()
        with self.opened_file() as container:
            while True:
                count = 0
                for picture in self.decoded(container):
                    if self.config.realtime and self.stop.wait(pace.delay(picture)):
                        return
                    count += 1
                    yield picture
                if count == 0 and not self.stop.is_set():
                    raise SourceUnsupported(self.name, "has no pictures that can be decoded")
                if not self.loop or self.stop.is_set():
                    return
                container.seek(0)
                pace.restart()


class DemoSource(FileSource):
    """The built-in clip, for ever."""

    loop = True

    @property
    def path(self) -> str:
        return str(resources.files("streamd") / "assets" / "demo.mp4")


class Pace:
    """When each picture of a file is due."""

    def __init__(self) -> None:
        self._anchor: float | None = None
        self._first: float | None = None
        self._last = 0.0
        self._interval = 0.04

    def delay(self, picture: av.VideoFrame) -> float:
        """Seconds to wait before showing it, never negative."""
        now = time.monotonic()
        shown = picture.time if picture.time is not None else self._last + self._interval
        if self._anchor is None:
            self._anchor = now
        if self._first is None:
            self._first = shown
        elif 0 < shown - self._last < LATE_S:
            self._interval = shown - self._last
        self._last = shown
        delay = self._anchor + shown - self._first - now
        if abs(delay) > max(LATE_S, 2 * self._interval):  # a jump in the file, or we slept
            self._anchor, self._first, delay = now, shown, 0.0
        return max(0.0, delay)

    def restart(self) -> None:
        """The file begins again, one interval after its last picture."""
        if self._anchor is not None and self._first is not None:
            self._anchor += self._last - self._first + self._interval
            self._first, self._last = None, 0.0
