"""Videos whose corners tell how a picture lies: white and red above, green and gray below."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.video.stream import VideoStream

WHITE, RED, GREEN, GRAY = (255, 255, 255), (255, 0, 0), (0, 255, 0), (64, 64, 64)
UPRIGHT = "WR/G."
MATRICES = {
    "as it is": ((1, 0, 0, 1), UPRIGHT),
    "mirrored": ((-1, 0, 0, 1), "RW/.G"),
    "upside down, mirrored": ((1, 0, 0, -1), "G./WR"),
    "half a turn": ((-1, 0, 0, -1), ".G/RW"),
    "clockwise": ((0, 1, -1, 0), "GW/.R"),
    "counterclockwise": ((0, -1, 1, 0), "R./WG"),
    "along one diagonal": ((0, 1, 1, 0), "WG/R."),
    "along the other": ((0, -1, -1, 0), ".R/GW"),
}
"""(a, b, c, d) of a display matrix, and the corners as ffmpeg(1) shows them."""


def pixels(width: int = 64, height: int = 48) -> np.ndarray:
    """(h, w, 3) RGB."""
    rgb = np.full((height, width, 3), GRAY, np.uint8)
    h, w = height // 3, width // 3
    rgb[:h, :w], rgb[:h, -w:], rgb[-h:, :w] = WHITE, RED, GREEN
    return rgb


def corners(frame: av.VideoFrame) -> str:
    """``WR/G.`` when it is upright."""
    rgb = frame.to_ndarray(format="rgb24").astype(int)
    h, w = rgb.shape[:2]
    letters = {WHITE: "W", RED: "R", GREEN: "G", GRAY: "."}
    above, below = (
        "".join(letters[min(letters, key=lambda colour: np.abs(rgb[y, x] - colour).sum())] for x in (w // 8, -w // 8))
        for y in (h // 8, -h // 8)
    )
    return f"{above}/{below}"


def write_corners(
    path: Path,
    codec: str = "libx264",
    *,
    size: tuple[int, int] = (64, 48),
    pix_fmt: str = "yuv420p",
    aspect: Fraction = Fraction(1),
    matrix: Sequence[int] | None = None,
    count: int = 3,
) -> Path:
    """``matrix``: (a, b, c, d) of the container's display matrix."""
    with av.open(str(path), "w") as container:
        video = cast(VideoStream, container.add_stream(codec, rate=10))
        video.width, video.height = size
        video.pix_fmt = pix_fmt
        if codec == "libx264":
            video.codec_context.options = {"preset": "ultrafast", "bf": "0", "crf": "10"}
        video.codec_context.sample_aspect_ratio = aspect
        if matrix:
            a, b, c, d = (value << 16 for value in matrix)
            video.set_display_matrix([a, b, 0, c, d, 0, 0, 0, 1 << 30])
        for number in range(count):
            picture = av.VideoFrame.from_ndarray(pixels(*size), format="rgb24").reformat(format=pix_fmt)
            picture.pts, picture.time_base = number, Fraction(1, 10)
            container.mux(video.encode(picture))
        container.mux(video.encode(None))
    return path


def filtered(path: Path, bitstream: str, output: Path) -> Path:
    """The first video stream of ``path`` through a filter for packets, such as ``h264_metadata``."""
    with av.open(str(path)) as container, av.open(str(output), "w") as result:
        source = container.streams.video[0]
        filter, video = av.bitstream.BitStreamFilterContext(bitstream, source), result.add_stream_from_template(source)
        for packet in container.demux(source):
            for made in filter.filter(packet if packet.size else None):
                made.stream = video
                result.mux(made)
    return output


def exif(jpeg: bytes, orientation: int) -> bytes:
    """The JPEG with an EXIF orientation of 1 to 8."""
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0)
    body = b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 1) + entry + bytes(4)
    return jpeg[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + jpeg[2:]
