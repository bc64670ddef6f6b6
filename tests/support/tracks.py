"""Files of several tracks."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
from av.stream import Disposition
from av.video.stream import VideoStream


def write_tracks(path: Path, *tracks: tuple[str, tuple[int, int], int, Disposition], sound: bool = False) -> Path:
    """``tracks``: codec, size, how many pictures (10 a second), disposition. ``sound``: a second of silence, behind."""
    with av.open(str(path), "w") as container:
        videos = []
        for codec, size, _, disposition in tracks:
            video = cast(VideoStream, container.add_stream(codec, rate=10))
            video.width, video.height = size
            video.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            video.disposition = disposition
            videos.append(video)
        packets: list[Any] = []
        if sound:
            audio = container.add_stream("aac", rate=48_000)
            for number in range(48):
                frame = av.AudioFrame.from_ndarray(np.zeros((2, 1024), np.float32), format="fltp", layout="stereo")
                frame.rate, frame.pts, frame.time_base = 48_000, 1024 * number, Fraction(1, 48_000)
                packets += audio.encode(frame)
            packets += audio.encode(None)
        for video, (_, size, count, _) in zip(videos, tracks, strict=True):
            for number in range(count):
                picture = av.VideoFrame(*size, video.pix_fmt or "yuv420p")
                picture.pts, picture.time_base = number, Fraction(1, 10)
                packets += video.encode(picture)
            packets += video.encode(None)
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            container.mux(packet)
    return path
