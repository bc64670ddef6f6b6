"""USB and built-in cameras through Video4Linux: ``/dev/video0``, ``v4l2:/dev/v4l/by-id/...``."""

from __future__ import annotations

import errno
import logging
import os
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction

import av
from av.container import InputContainer

from streamd.errors import SourceEnded, SourceError, SourceRejected, SourceUnreachable, SourceUnsupported
from streamd.sources import v4l2
from streamd.sources.base import Source

log = logging.getLogger(__name__)

HEIGHT_PX, RATE_FPS = 720, 30
RAW_BYTES_PER_S = 10_000_000
"""Above it Motion JPEG comes first: USB 2 carries 24 MB/s, and a second camera may share it."""
RETURN_POLL_S = 0.25
PICTURE_POLL_S = 0.004

# 4 is AVFMT_FLAG_NONBLOCK, which has no name here. Without it a camera that hangs keeps its thread for
# ever, in the driver, where FFmpeg's time-outs do not reach; with it FFmpeg spins until the first picture.
_READ = {"fflags": "4", "fpsprobesize": "0"}

# FFmpeg's names; the order decides between formats that are alike in all else. H.264 last: it comes late.
INPUT_FORMATS = {
    "MJPG": "mjpeg",
    "JPEG": "mjpeg",
    "NV12": "nv12",
    "YU12": "yuv420p",
    "YV12": "yuv420p",
    "422P": "yuv422p",
    "YUYV": "yuyv422",
    "UYVY": "uyvy422",
    "RGB3": "rgb24",
    "BGR3": "bgr24",
    "GREY": "gray",
    "H264": "h264",
    "HEVC": "hevc",
}


@dataclass(frozen=True)
class Mode:
    """How a camera is asked to send."""

    input_format: str
    width: int
    height: int
    rate: Fraction | None = None

    @property
    def options(self) -> dict[str, str]:
        """For FFmpeg."""
        options = {"input_format": self.input_format, "video_size": f"{self.width}x{self.height}"}
        return options | ({"framerate": str(self.rate)} if self.rate else {})


def best_mode(formats: tuple[v4l2.PixelFormat, ...], height_px: int, rate_fps: float) -> Mode | None:
    """The offered size and rate nearest to the wanted; None when nothing is offered that FFmpeg knows."""

    def cost(mode: Mode) -> tuple[float, ...]:
        rate = float(mode.rate or RATE_FPS)
        compressed = mode.input_format == "mjpeg"
        raw_is_small = 2 * mode.width * mode.height * rate <= RAW_BYTES_PER_S
        return (
            rate < rate_fps / 2,  # a smooth picture before a sharp one
            abs(mode.height - height_px),
            abs(mode.width * 9 / mode.height - 16),
            abs(rate - rate_fps),
            compressed == raw_is_small,
            known.index(mode.input_format),
        )

    known = list(INPUT_FORMATS.values())
    modes = [
        Mode(INPUT_FORMATS[pixels.fourcc], size.width, size.height, rate)
        for pixels in formats
        if pixels.fourcc in INPUT_FORMATS
        for size in pixels.sizes
        for rate in size.rates or (None,)
    ]
    return min(modes, key=cost, default=None)


class WebcamSource(Source):
    @property
    def device(self) -> str:
        return self.address.path

    def frames(self) -> Generator[av.VideoFrame]:
        camera = v4l2.camera(self.device)
        for wish in (wishes := self._wishes(camera)):
            delivered = False
            try:
                with self.opened(self.device, format="v4l2", options={**wish, **_READ}) as container:
                    for picture in self.decoded(container):
                        if not delivered:
                            self._warn_of_size(picture, wish.get("video_size"))
                        delivered = True
                        yield picture
            except SourceError as error:
                advised = self._with_advice(error, camera, delivered)
                if delivered or wish is wishes[-1] or not isinstance(advised, SourceUnsupported):
                    raise advised from error
                continue
            if not self.stop.is_set():
                raise SourceEnded(self.name, "stopped sending: was it unplugged?")
            return

    def packets(self, container: InputContainer, stream: av.VideoStream) -> Iterator[av.Packet[av.VideoStream]]:
        while True:
            try:
                yield from container.demux(stream)
                return
            except BlockingIOError:  # no picture yet
                self.check_patience()
            if self.stop.wait(PICTURE_POLL_S):
                return

    def await_return(self, delay_s: float) -> None:
        """Waits on ``stop``, at most ``delay_s``; a device that was away and is back ends it."""
        until, away = time.monotonic() + delay_s, False
        while True:
            usable = os.access(self.device, os.R_OK | os.W_OK)  # udev gives the group its rights after the node
            left_s = until - time.monotonic()
            if (usable and away) or left_s <= 0 or self.stop.wait(min(left_s, RETURN_POLL_S)):
                return
            away = away or not usable

    def _wishes(self, camera: v4l2.Camera | None) -> list[dict[str, str]]:
        """What to ask for, the best first; the last takes the camera as it is."""
        height_px = self.config.height or HEIGHT_PX
        mode = best_mode(camera.formats if camera else (), height_px, self.config.max_fps or RATE_FPS)
        usual = Mode("mjpeg", height_px * 16 // 9 & ~1, height_px, Fraction(RATE_FPS))
        return [(mode or usual).options, {}]

    def _warn_of_size(self, picture: av.VideoFrame, wanted: str | None) -> None:
        """Drivers may give another size without an error. FFmpeg's header may still have the wanted one (seen with
        vivid), so the picture itself is asked."""
        if wanted and (got := f"{picture.width}x{picture.height}") != wanted:
            log.warning("%s: gives %s instead of the %s that it was asked for", self.name, got, wanted)

    def _with_advice(self, error: SourceError, camera: v4l2.Camera | None, delivered: bool) -> SourceError:
        """The same with what a person can do about it."""
        number = getattr(error.__cause__, "errno", None)
        if reason := v4l2.explain(number, self.device):
            denied = number in (errno.EACCES, errno.EPERM)
            kind = SourceRejected if denied else SourceEnded if delivered else SourceUnreachable
            return kind(self.name, reason)
        if number == errno.EINVAL:
            error = SourceUnsupported(self.name, "does not give this format")
        if isinstance(error, SourceUnsupported) and camera and camera.formats:
            return SourceUnsupported(self.name, f"{error.reason}; it has {in_words(camera.formats)}")
        return error


def in_words(formats: tuple[v4l2.PixelFormat, ...]) -> str:
    """``MJPG 640x480 1280x720, YUYV 640x480``."""
    return ", ".join(" ".join([f.fourcc, *(f"{s.width}x{s.height}" for s in f.sizes)]) for f in formats)
