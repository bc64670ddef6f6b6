"""The encoders and all their settings: H.264 by x264, and VP8 for viewers without H.264."""

from __future__ import annotations

import math
import threading
import time
from fractions import Fraction

import av
import av.error
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType

from streamd.errors import EncodeError
from streamd.media.frames import TIME_BASE, Codec, EncodedPacket, Picture, Stamp

KEYFRAME_EVERY_S = 10.0
MIN_KEYFRAME_INTERVAL_S = 0.5
LIVE_QUALITY = "25"
"""x264's constant rate factor: 50 dB of a 720p depth picture. Easy scenes then stay far below the cap, at the
quality that the cap's rate would give (measured against a fixed rate)."""
LIGHT_BITRATE, HALF_BITRATE = 0.25, 0.7
"""As a fraction of the full one, for half the width and height: on a bad link, and for viewers who enlarge it."""
# Smooth colour ramps want deblocking and no adaptive quantisation. With them ultrafast costs 4.7 ms a
# 720p depth picture where superfast costs 6.5, at the same rate and PSNR; in files, where CABAC and
# 8x8 transforms are allowed, 5.7 instead of 12.0 ms at two thirds of the size and 52 dB (measured).
_H264 = {
    "preset": "ultrafast",
    "tune": "zerolatency",
    "forced-idr": "1",
    "aq-mode": "0",
    "x264-params": "no-deblock=0:deblock=0,0",
    "crf": LIVE_QUALITY,
}
# What is to be enlarged is coded finer, and evenly: still pictures need no better quality than moving ones. Stronger
# deblocking gains 0.2 dB for nothing. Against a full-size one: a quarter of the CPU, two thirds of the bits, the same
# luma once it is enlarged (benchmarks/encode.py).
_H264_HALF = {"crf": "20", "qcomp": "0.8", "x264-params": "no-deblock=0:deblock=2,2:chroma-qp-offset=2"}
# Denoising would blur the ramps (46 dB at most, measured); cpu-used 16 takes half the CPU of 8, for 0.5 dB.
_VP8 = {"deadline": "realtime", "cpu-used": "16", "lag-in-frames": "0", "static-thresh": "1", "noise-sensitivity": "0"}
_FILE = {"preset": "ultrafast", "crf": "22", "x264-params": "cabac=1:8x8dct=1:no-deblock=0:deblock=0,0"}


def bitrate_kbps(width: int, height: int, *, half: bool = False) -> int:
    """What a depth picture of this size needs: 500 at 640x360, 1500 at 1280x720. ``half``: one that is to be enlarged
    to twice its size."""
    if half:
        return round(HALF_BITRATE * bitrate_kbps(2 * width, 2 * height))
    return max(200, round(1500 * math.pow(width * height / (1280 * 720), 0.8)))


def _context(codec: Codec, width: int, height: int) -> VideoCodecContext:
    context = av.CodecContext.create({"h264": "libx264", "vp8": "libvpx"}[codec], "w")
    assert isinstance(context, VideoCodecContext)
    context.width, context.height, context.pix_fmt = width, height, "yuv420p"
    tag_colours(context)
    return context


def tag_colours(context: VideoCodecContext) -> None:
    """What render/colormap.py draws: BT.601 matrix in limited range, BT.709 primaries and transfer."""
    context.colorspace, context.color_range = 6, 1
    context.color_primaries = context.color_trc = 1


class LiveEncoder:
    """One rendition of one stream, encoded once for everybody.

    H.264 in constrained baseline without B-frames, which every browser decodes; SPS and PPS in
    front of each keyframe, so that anyone can join there. Of constant quality, with ``kbps`` as a
    cap. ``request_keyframe`` from any thread, all else from one.
    """

    def __init__(
        self,
        width: int,
        height: int,
        *,
        codec: Codec = "h264",
        kbps: int | None = None,
        fps: float = 30.0,
        after_pts: int = -1,
        half: bool = False,
    ) -> None:
        """``half``: it is to be enlarged to twice its size."""
        self.size = (width, height)
        self.last_pts = after_pts
        """Of the newest packet; the next always has a later one."""
        kbps = kbps or bitrate_kbps(width, height, half=half)
        self._codec: Codec = codec
        context = self._context = _context(codec, width, height)
        context.time_base = TIME_BASE
        context.framerate = Fraction(fps).limit_denominator(1001)
        context.gop_size = max(1, round(KEYFRAME_EVERY_S * fps))
        context.thread_count = 1
        context.options = {"maxrate": str(kbps * 1000), "bufsize": str(kbps * 500)}
        if codec == "h264":
            context.profile = "Baseline"
            context.options |= _H264 | (_H264_HALF if half else {})
        else:
            context.bit_rate = kbps * 1000
            context.options |= _VP8
        try:
            context.open()
        except av.error.FFmpegError as error:
            raise EncodeError(f"encoder refuses {width}x{height}: {error.strerror}") from error
        self._wanted = threading.Event()
        self._last_keyframe = -MIN_KEYFRAME_INTERVAL_S

    def request_keyframe(self) -> None:
        """The next frame becomes a keyframe; at most two a second, a request is kept, never lost."""
        self._wanted.set()

    @property
    def keyframe_due(self) -> bool:
        """Whether the next frame will be a keyframe because one was requested."""
        return self._wanted.is_set() and self.keyframe_in_s <= 0

    @property
    def keyframe_in_s(self) -> float:
        """How long it takes until one that is requested may come."""
        return self._last_keyframe + MIN_KEYFRAME_INTERVAL_S - time.monotonic()

    def encode(self, picture: Picture, stamp: Stamp, *, is_notice: bool = False) -> list[EncodedPacket]:
        """Times come from the stamp; a picture shown again gets the next free tick. Raises EncodeError."""
        pts = self.last_pts = max(stamp.pts, self.last_pts + 1)
        picture.pts, picture.time_base = pts, TIME_BASE
        is_old = time.monotonic() - self._last_keyframe >= KEYFRAME_EVERY_S  # of a still scene few pictures come
        picture.pict_type = PictureType.I if self.keyframe_due or is_old else PictureType.NONE
        try:
            packets = [
                EncodedPacket(
                    bytes(packet),
                    packet.pts or 0,
                    packet.is_keyframe,
                    stamp.captured_at,
                    self.size,
                    stamp.epoch,
                    is_notice,
                    self._codec,
                )
                for packet in self._context.encode(picture)
            ]
        except av.error.FFmpegError as error:
            raise EncodeError(f"encoder failed: {error.strerror}") from error
        if any(packet.is_keyframe for packet in packets):
            self._wanted.clear()
            self._last_keyframe = time.monotonic()
        return packets


def file_options() -> dict[str, str]:
    """x264 for files: constant quality instead of a rate, and look-ahead is allowed."""
    return dict(_FILE)
