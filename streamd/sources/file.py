"""Files: played like a camera, in a loop, or every frame as fast as it goes."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import dataclass
from fractions import Fraction
from importlib import resources

import av

from streamd.errors import SourceUnsupported
from streamd.sources.base import Source

LATE_S = 1.0
"""Behind by more than this, play on from now instead of catching up."""


@dataclass(frozen=True)
class FileInfo:
    """What a file says of itself; a hint, not a promise."""

    width: int
    height: int
    rate: Fraction | None
    frames: int | None


class FileSource(Source):
    live = False

    @property
    def url(self) -> str:
        return self.config.source.removeprefix("file:")

    @property
    def loop(self) -> bool:
        return self.config.loop

    def probe(self) -> FileInfo:
        """Opens the file and looks. Raises SourceError unless it has video."""
        with self.opened(self.url) as container:
            if not container.streams.video:
                raise SourceUnsupported(self.name, "has no video")
            video = container.streams.video[0]
            frames = video.frames
            if not frames and container.duration and video.average_rate:
                frames = round(container.duration / av.time_base * video.average_rate)
            return FileInfo(video.width, video.height, video.average_rate, frames or None)

    def frames(self) -> Generator[av.VideoFrame]:
        pace = Pace()
        with self.opened(self.url) as container:
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
    def url(self) -> str:
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
