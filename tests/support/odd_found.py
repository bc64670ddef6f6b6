"""What is in a file, as a player shows it; and how that differs from what ought to be."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import InputContainer

from tests.support.odd_recipe import FFMPEG, HIDDEN, Pixels, Truth, ffmpeg

Differences = dict[str, str]
"""By aspect: what was expected, and what is there."""
SOUND_S = 0.12
"""A packet of sound is so long at most, and its encoder begins one early."""


@dataclass
class Found:
    times: list[float]
    levels: list[float]
    size: tuple[float, float]
    """With square pixels."""
    corners: Pixels
    spot: Pixels
    """The colour in the middle of the lower edge."""
    length_s: float | None = None
    """Of the pictures, with the last one's duration."""
    start_s: float = 0.0
    """Of whatever begins first."""
    sounds: list[tuple[float, float]] | None = None


def by_ffmpeg(path: Path) -> Found:
    """Raises CalledProcessError. Without the sound."""
    own = "-an -sn -dn -fps_mode passthrough -enc_time_base 1:90000 -c:v rawvideo -pix_fmt rgb24 -f nut pipe:1"
    made = ffmpeg([FFMPEG, "-v", "error", "-nostdin", "-i", str(path), *own.split()])
    with av.open(io.BytesIO(made)) as container:
        return _pictures(container)


def converted(path: Path) -> Found:
    with av.open(str(path)) as container:
        found = _pictures(container)
    with av.open(str(path)) as container:
        spans = [_span(container, stream) for stream in (container.streams.video[0], *container.streams.audio)]
    found.length_s = spans[0][1] - spans[0][0]
    found.start_s = min(start for start, _ in spans)
    found.sounds = [(start - found.times[0], end - found.times[0]) for start, end in spans[1:]]
    return found


def _span(container: InputContainer, stream: Any) -> tuple[float, float]:
    """When its first packet begins and its last one ends, s. All the file is read again."""
    container.seek(0)
    times = [
        (float(packet.pts * packet.time_base), float((packet.duration or 0) * packet.time_base))
        for packet in container.demux(stream)
        if packet.pts is not None and not packet.is_discard
    ]
    return min(start for start, _ in times), max(start + duration for start, duration in times)


def _pictures(container: Any) -> Found:
    times, levels, found = list[float](), list[float](), None
    for frame in container.decode(video=0):
        picture = frame.to_ndarray(format="rgb24")
        height, width = picture.shape[:2]
        times.append(frame.time)
        levels.append(float(_mean(picture, 0.5, 0.5).mean()))
        if found is None:
            ratio = container.streams.video[0].sample_aspect_ratio or 1
            corners = np.array([_mean(picture, x, y) for y in (0.1, 0.9) for x in (0.1, 0.9)])
            found = Found(times, levels, (width * float(ratio), height), corners, _mean(picture, 0.5, 0.9))
    if found is None:
        raise ValueError("no pictures")
    return found


def _mean(picture: Pixels, x: float, y: float) -> Pixels:
    """Of the few pixels there."""
    height, width = picture.shape[:2]
    down, across = int(y * height), int(x * width)
    reach = max(1, min(height, width) // 30)
    return picture[down - reach : down + reach, across - reach : across + reach].mean(axis=(0, 1))


def differences(truth: Truth, found: Found) -> Differences:
    """Empty when all is as it ought to be."""
    told = _pictures_differ(truth, found) | _times_differ(truth, found)
    if found.sounds is not None:
        told |= _sound_differs(truth, found)
    return told


def _pictures_differ(truth: Truth, found: Found) -> Differences:
    told: Differences = {}
    count, wanted = len(found.times), len(truth.times)
    if not (0 < count <= wanted if truth.fewer else count == wanted):
        told["frames"] = f"{'at most ' * truth.fewer}{wanted}, got {count}"
    stray = np.abs(np.array(truth.corners, float) - found.corners).max()
    if stray > truth.tolerance:
        told["corners"] = f"{_letters(truth.corners)}, got {_letters(found.corners)} (off by {stray:.0f})"
    if not _same_shape(truth.size, found.size):
        told["shape"] = f"{truth.size[0]:.0f}x{truth.size[1]:.0f}, got {found.size[0]:.0f}x{found.size[1]:.0f}"
    whole = count - truth.fewer  # where it is cut, half a picture may be left
    off = [abs(a - b) for a, b in zip(truth.levels, found.levels[:whole], strict=False)]
    if truth.tolerance < 255 and off and max(off) > 20:
        first = next(n for n, by in enumerate(off) if by > 20)
        told["order"] = f"picture {first} of gray {truth.levels[first]}, got {found.levels[first]:.0f}"
    if truth.hidden and np.abs(found.spot - np.array(HIDDEN)).max() < 60:
        told["alpha"] = "what is transparent hidden, got its colour"
    return told


def _same_shape(wanted: tuple[float, float], got: tuple[float, float]) -> bool:
    """But for 2 px that an encoder takes off; however large."""
    scale = (got[0] * got[1] / (wanted[0] * wanted[1])) ** 0.5
    return 0.45 < scale < 2.2 and all(abs(a * scale - b) <= 2 for a, b in zip(wanted, got, strict=True))


def _times_differ(truth: Truth, found: Found) -> Differences:
    told: Differences = {}
    wanted = [time - truth.times[0] for time in truth.times][: len(found.times)]
    times = [time - found.times[0] for time in found.times]
    off = [abs(a - b) for a, b in zip(wanted, times, strict=False)]
    off_s = truth.beat_s / (1 if truth.seam else 2) + 0.002
    if off and max(off) > off_s:
        first = next(n for n, by in enumerate(off) if by > off_s)
        told["times"] = f"picture {first} at {wanted[first]:.3f} s, got {times[first]:.3f}"
    if found.length_s is not None and "frames" not in told:
        length_s = wanted[-1] + truth.beat_s
        if abs(found.length_s - length_s) > length_s / len(wanted) + 0.005:
            told["duration"] = f"{length_s:.3f} s, got {found.length_s:.3f}"
    if not -0.1 < found.start_s < max(0.1, *(-start for start, _ in truth.sounds), 0.1) and found.sounds is not None:
        told["start"] = f"near 0, got {found.start_s:.3f} s"
    return told


def _sound_differs(truth: Truth, found: Found) -> Differences:
    sounds = found.sounds or []
    if truth.fewer:
        return {}
    if len(sounds) != len(truth.sounds):
        return {"sound": f"{len(truth.sounds)} tracks, got {len(sounds)}"}
    for wanted, got in zip(truth.sounds, sounds, strict=True):
        if any(abs(a - b) > SOUND_S for a, b in zip(wanted, got, strict=True)):
            return {"sound": f"from {wanted[0]:.2f} to {wanted[1]:.2f} s, got {got[0]:.2f} to {got[1]:.2f}"}
    return {}


def _letters(corners: Pixels) -> str:
    """``WR/G.``: which colour each corner is nearest to."""
    named = {"W": (255, 255, 255), "R": (255, 0, 0), "G": (0, 255, 0), ".": (64, 64, 64), "B": (0, 0, 255)}
    nearest = [min(named, key=lambda name: float(np.abs(np.array(named[name]) - corner).sum())) for corner in corners]
    return f"{''.join(nearest[:2])}/{''.join(nearest[2:])}"
