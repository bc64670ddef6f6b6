"""Debian's ffmpeg, which makes what PyAV does not, and ffprobe, which says what others find in our files."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.waiting import scaled

PATTERN = "-f lavfi -i testsrc2=size=192x112:rate=10:duration=2"
TONE = "-f lavfi -i sine=duration=2"
TIME = "best_effort_timestamp_time"
H264 = "-c:v libx264 -preset ultrafast -pix_fmt yuv420p"


def make(folder: Path, arguments: str) -> Path:
    """What ffmpeg(1) makes of these in ``folder``: the path of the last one."""
    subprocess.run(
        ["ffmpeg", "-nostdin", "-v", "error", "-y", *arguments.split()], cwd=folder, check=True, timeout=scaled(60)
    )
    return folder / arguments.split()[-1]


@dataclass(frozen=True)
class Track:
    """Times in s."""

    kind: str
    codec: str
    count: int
    """Pictures; packets of sound."""
    start: float
    end: float
    language: str | None


def tracks(path: Path) -> list[Track]:
    """What ffprobe decodes and finds."""
    of_frames = f"stream_index,{TIME},pkt_duration_time"
    shown = f"stream=index,codec_type,codec_name:stream_tags=language:frame={of_frames}"
    command = ["ffprobe", "-v", "error", "-show_frames", "-show_entries", shown, "-of", "json", str(path)]
    found: dict[str, Any] = json.loads(
        subprocess.run(command, check=True, capture_output=True, timeout=scaled(60)).stdout
    )

    def track(stream: dict[str, Any]) -> Track:
        frames = [frame for frame in found["frames"] if frame["stream_index"] == stream["index"]]
        times = [float(frame[TIME]) for frame in frames if TIME in frame]
        end = times[-1] + float(frames[-1].get("pkt_duration_time", 0))
        language = stream.get("tags", {}).get("language")
        return Track(stream["codec_type"], stream["codec_name"], len(frames), times[0], end, language)

    return [track(stream) for stream in found["streams"]]


def video_of(path: Path) -> Track:
    return next(track for track in tracks(path) if track.kind == "video")
