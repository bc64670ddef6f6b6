"""The cameras of this machine, as Video4Linux reports them, by ioctl, without a library.

Numbers and layouts are those of the kernel's ``include/uapi/linux/videodev2.h``; all members are
32 bits wide, so they are the same on every machine that Linux runs on with the generic ioctl coding.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

DEV, SYS = Path("/dev"), Path("/sys")

_CAPTURE, _CAPTURE_MPLANE, _DEVICE_CAPS = 0x1, 0x1000, 0x80000000  # V4L2_CAP_*
_BUF_CAPTURE, _MEMORY_MMAP = 1, 1
_DISCRETE = 1  # V4L2_FRMSIZE_TYPE_DISCRETE, V4L2_FRMIVAL_TYPE_DISCRETE
_QUERYCAP = (2, 0, struct.Struct("=16s32s32s6I"))  # (direction, number, layout)
_ENUM_FMT = (3, 2, struct.Struct("=3I32s5I"))
_REQBUFS = (3, 8, struct.Struct("=5I"))
_ENUM_FRAMESIZES = (3, 74, struct.Struct("=11I"))
_ENUM_FRAMEINTERVALS = (3, 75, struct.Struct("=13I"))
_Request = tuple[int, int, struct.Struct]
ioctl = fcntl.ioctl
"""The only thing here that talks to a device: tests put their own in its place."""
_MAX_ENTRIES = 256
"""Of one enumeration: a driver that never ends it must not keep us for ever."""

# Of a camera that takes any size, and any rate.
_USUAL_SIZES = ((320, 180), (640, 360), (640, 480), (1280, 720), (1920, 1080), (2560, 1440), (3840, 2160))
_USUAL_RATES = tuple(Fraction(rate) for rate in (5, 10, 15, 20, 25, 30, 50, 60))


@dataclass(frozen=True)
class Size:
    """A size that a camera gives pictures in, and its frame rates; none when the driver lists none."""

    width: int
    height: int
    rates: tuple[Fraction, ...]
    """Frames per second."""


@dataclass(frozen=True)
class PixelFormat:
    fourcc: str
    """MJPG, YUYV, ..."""
    description: str
    sizes: tuple[Size, ...]


@dataclass(frozen=True)
class Camera:
    """One node that gives pictures."""

    path: str
    """/dev/videoN: another one after the next boot, perhaps."""
    name: str
    stable_id: str | None
    """/dev/v4l/by-id/..., else by-path/...: stays the same."""
    bus: str
    formats: tuple[PixelFormat, ...]
    problem: str | None = None
    """Why it cannot be opened now, and what to do."""

    def describe(self) -> dict[str, Any]:
        """Ready for JSON."""
        described = asdict(self)
        for size in (size for pixels in described["formats"] for size in pixels["sizes"]):
            size["rates"] = [round(float(rate), 3) for rate in size["rates"]]
        return described


def cameras(dev: Path = DEV, sys: Path = SYS) -> list[Camera]:
    """Every camera, in the order of their numbers. Blocks for milliseconds; never raises."""
    nodes: list[tuple[int, Path]] = []
    with suppress(OSError):
        nodes = [(int(node.name[5:]), node) for node in dev.iterdir() if re.fullmatch(r"video\d+", node.name)]
    found = (camera(node, dev, sys) for _, node in sorted(nodes))
    return [each for each in found if each]


def camera(path: Path | str, dev: Path = DEV, sys: Path = SYS) -> Camera | None:
    """The camera behind a node or a stable name; None when there is none, or it gives no pictures."""
    try:
        node = Path(path).resolve(strict=True)
        descriptor = os.open(node, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return _closed(Path(path), error, dev, sys)
    try:
        return _query(descriptor, node, dev)
    except OSError:  # unplugged this moment, or no video device at all
        return None
    finally:
        os.close(descriptor)


def explain(number: int | None, path: str) -> str | None:
    """What an errno of a camera means and what to do about it; None for the others."""
    if number == errno.EBUSY:
        return f"is in use by another program; `fuser -v {path}` shows which"
    if number in (errno.EACCES, errno.EPERM):
        return "no permission: add this user to the group video (sudo usermod -aG video USER) and log in again"
    if number == errno.ENOENT:
        return "no such device: is it plugged in? `streamd doctor` lists the cameras that are there"
    if number == errno.ENOTTY:
        return "is no camera: `streamd doctor` lists those that are there"
    if number in (errno.ENODEV, errno.ENXIO):
        return "is unplugged"
    return None


def _closed(path: Path, error: OSError, dev: Path, sys: Path) -> Camera | None:
    """What is known of a node that does not open. Only the first node of a camera gives pictures."""
    problem = explain(error.errno, str(path))
    about = sys / "class/video4linux" / path.name
    if problem is None or error.errno == errno.ENOENT or _text(about / "index") not in ("", "0"):
        return None
    return Camera(str(path), _text(about / "name") or path.name, _stable_id(path, dev), "", (), problem)


def _query(descriptor: int, node: Path, dev: Path) -> Camera | None:
    _, card, bus, _, all_caps, caps, *_ = _ioctl(descriptor, _QUERYCAP, b"", b"", b"", *[0] * 6)
    caps = caps if all_caps & _DEVICE_CAPS else all_caps  # those of this node, not of its siblings for metadata
    if not caps & (_CAPTURE | _CAPTURE_MPLANE):
        return None
    problem = _busy(descriptor, str(node))
    if not caps & _CAPTURE:
        problem = "gives multi-planar pictures only, which FFmpeg does not read"
    formats = tuple(_formats(descriptor)) if caps & _CAPTURE else ()
    return Camera(str(node), _string(card), _stable_id(node, dev), _string(bus), formats, problem)


def _busy(descriptor: int, path: str) -> str | None:
    """Asking for no buffers changes nothing, but only the owner of a streaming camera may."""
    try:
        _ioctl(descriptor, _REQBUFS, 0, _BUF_CAPTURE, _MEMORY_MMAP, 0, 0)
    except OSError as error:
        return explain(error.errno, path) if error.errno == errno.EBUSY else None
    return None


def _formats(descriptor: int) -> Iterator[PixelFormat]:
    for answer in _each(descriptor, _ENUM_FMT, _BUF_CAPTURE, 0, b"", *[0] * 5):
        code = answer[4]
        fourcc = struct.pack("=I", code & 0x7FFFFFFF).decode("ascii", "replace").strip()
        yield PixelFormat(fourcc, _string(answer[3]), tuple(_sizes(descriptor, code)))


def _sizes(descriptor: int, code: int) -> Iterator[Size]:
    for _, _, kind, *numbers in _each(descriptor, _ENUM_FRAMESIZES, code, *[0] * 9):
        if kind == _DISCRETE:
            sizes = [(numbers[0], numbers[1])]
        else:
            low_x, high_x, step_x, low_y, high_y, step_y = numbers[:6]
            usual = [
                (w, h) for w, h in _USUAL_SIZES if _fits(w, low_x, high_x, step_x) and _fits(h, low_y, high_y, step_y)
            ]
            sizes = list(dict.fromkeys([*usual, (high_x, high_y)]))
        for width, height in sizes:
            yield Size(width, height, tuple(_rates(descriptor, code, width, height)))
        if kind != _DISCRETE:  # one answer describes all sizes
            return


def _fits(value: int, low: int, high: int, step: int) -> bool:
    return low <= value <= high and (value - low) % max(step, 1) == 0


def _rates(descriptor: int, code: int, width: int, height: int) -> Iterator[Fraction]:
    for answer in _each(descriptor, _ENUM_FRAMEINTERVALS, code, width, height, *[0] * 9):
        kind, low, low_base, high, high_base = answer[4:9]  # intervals, in seconds
        if kind == _DISCRETE:
            if low and low_base:
                yield Fraction(low_base, low)
            continue
        if low_base and high_base:
            yield from (
                rate for rate in _USUAL_RATES if Fraction(low, low_base) <= 1 / rate <= Fraction(high, high_base)
            )
        return


def _each(descriptor: int, request: _Request, *arguments: Any) -> Iterator[tuple[Any, ...]]:
    """Counts the index up until the driver reports the end."""
    with suppress(OSError):
        for index in range(_MAX_ENTRIES):
            yield _ioctl(descriptor, request, index, *arguments)


def _ioctl(descriptor: int, request: _Request, *arguments: Any) -> tuple[Any, ...]:
    """Raises OSError."""
    direction, number, layout = request
    code = direction << 30 | layout.size << 16 | ord("V") << 8 | number  # _IOC of asm-generic/ioctl.h
    buffer = bytearray(layout.pack(*arguments))
    ioctl(descriptor, code, buffer)
    return layout.unpack(buffer)


def _stable_id(node: Path, dev: Path) -> str | None:
    for folder in ("by-id", "by-path"):
        with suppress(OSError):
            for link in sorted((dev / "v4l" / folder).iterdir()):
                if link.resolve() == node.resolve():
                    return str(link)
    return None


def _string(text: bytes) -> str:
    return text.partition(b"\0")[0].decode("utf-8", "replace").strip()


def _text(file: Path) -> str:
    try:
        return file.read_text().strip()
    except (OSError, ValueError):
        return ""
