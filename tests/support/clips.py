"""Small videos made on the spot. Each picture has its number burnt in, so what arrives can be told."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.video.frame import PictureType

WIDTH, HEIGHT = 192, 112
_BLOCK, _BITS = 16, 16
TIME_BASE = Fraction(1, 12_800)


def picture_of(number: int, width: int = WIDTH, height: int = HEIGHT) -> av.VideoFrame:
    """The number in 16 black or white blocks at the left upper corner, on a ramp that moves with it."""
    ramp = (np.linspace(60, 190, width) + 2 * number % 40).astype(np.uint8)
    luma = np.tile(ramp, (height, 1))
    for bit in range(_BITS):
        y, x = _BLOCK * (bit // 8), _BLOCK * (bit % 8)
        luma[y : y + _BLOCK, x : x + _BLOCK] = 235 if number >> bit & 1 else 16
    chroma = np.full((height // 2, width), 128, np.uint8)
    picture = av.VideoFrame.from_ndarray(np.vstack([luma, chroma]), format="yuv420p")
    picture.colorspace, picture.color_range = 6, 1
    return picture


def number_in(frame: av.VideoFrame, x: int = 0, y: int = 0) -> int:
    """What is burnt into a picture whose left upper corner is at (x, y)."""
    gray = frame.to_ndarray(format="gray")
    half = _BLOCK // 2
    return sum(int(gray[y + half + _BLOCK * (b // 8), x + half + _BLOCK * (b % 8)] > 128) << b for b in range(_BITS))


def write_clip(
    path: Path,
    count: int,
    *,
    fps: int = 25,
    times_s: Sequence[float] | None = None,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    codec: str = "libx264",
    b_frames: int = 0,
    gop: int = 12,
    audio: bool = False,
    audio_only: bool = False,
    options: dict[str, str] | None = None,
) -> Path:
    """``count`` pictures, numbered from 0, at ``times_s`` or an even beat."""
    with av.open(str(path), "w", options=options or {}) as container:
        if not audio_only:
            video = cast(av.VideoStream, container.add_stream(codec, rate=fps))
            video.width, video.height = size
            video.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            if codec != "mpeg4":  # whose times are counted in frames
                video.codec_context.time_base = TIME_BASE
            context = video.codec_context
            context.gop_size, context.max_b_frames, context.thread_count = gop, b_frames, 1
            if codec == "libx264":
                context.options = {"preset": "ultrafast", "bf": str(b_frames), "crf": "20"}
            else:
                context.bit_rate = 2_000_000
        if audio or audio_only:
            sound = container.add_stream("aac", rate=48_000)
        packets: list[Any] = []
        if not audio_only:
            packets += _video_packets(video, times_s or [n / fps for n in range(count)], size)
        if audio or audio_only:
            packets += _audio_packets(sound, (times_s[-1] if times_s else count / fps))
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            container.mux(packet)
    return path


def _video_packets(video: Any, times_s: Iterable[float], size: tuple[int, int]) -> list[Any]:
    packets = []
    base = video.codec_context.time_base or Fraction(1, int(video.codec_context.framerate))
    for number, moment in enumerate(times_s):
        picture = picture_of(number, *size)
        picture.pts, picture.time_base, picture.pict_type = round(moment / base), base, PictureType.NONE
        packets += video.encode(picture)
    return packets + video.encode(None)


def _audio_packets(sound: Any, seconds: float) -> list[Any]:
    packets = []
    noise = np.random.default_rng(0).normal(0, 0.1, (1, 1024)).astype(np.float32)
    for start in range(0, int(seconds * 48_000), 1024):
        frame = av.AudioFrame.from_ndarray(np.repeat(noise, 2, axis=0), format="fltp", layout="stereo")
        frame.rate, frame.pts, frame.time_base = 48_000, start, Fraction(1, 48_000)
        packets += sound.encode(frame)
    return packets + sound.encode(None)


def frames_of(path: Path) -> list[av.VideoFrame]:
    """Every picture that a player would show."""
    with av.open(str(path)) as container:
        return list(container.decode(video=0))


def times_of(path: Path) -> list[Fraction]:
    """When each is shown, s."""
    return [Fraction(frame.pts or 0) * (frame.time_base or 0) for frame in frames_of(path)]


def audio_of(path: Path) -> list[bytes]:
    """The audio packets as they are in the file."""
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(audio=0) if packet.size]


def lay_down(path: Path, turn: int) -> Path:
    """Writes into an MP4 that players are to turn its picture by 90, 180 or 270 degrees clockwise."""
    a, b, c, d = {90: (0, 1, -1, 0), 180: (-1, 0, 0, -1), 270: (0, -1, 1, 0)}[turn]
    matrix = struct.pack(">9i", a << 16, b << 16, 0, c << 16, d << 16, 0, 0, 0, 1 << 30)
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 44
    data[at : at + 36] = matrix
    path.write_bytes(data)
    return path
