"""The cameras of a machine. No device here: nodes are plain files, and a fake answers at the one ioctl."""

from __future__ import annotations

import errno
import json
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from streamd.sources import v4l2

CAPTURE, MPLANE, META, STREAMING, DEVICE_CAPS = 0x1, 0x1000, 0x800000, 0x4000000, 0x80000000


@dataclass
class Node:
    """What the fake driver of one node answers. Sizes: (w, h) to intervals (numerator, denominator)."""

    name: str = "HD Cam"
    caps: int = CAPTURE | STREAMING
    formats: dict[str, dict[tuple[int, int], list[tuple[int, int]]]] = field(default_factory=dict)
    stepwise: tuple[int, ...] = ()
    """(min w, max w, step, min h, max h, step) instead of the sizes."""
    intervals: tuple[int, ...] = ()
    """(min, max) interval, as two fractions, instead of those of the sizes."""
    streaming: bool = False

    def answer(self, number: int, buffer: bytearray) -> None:
        {0: self.capabilities, 2: self.format, 8: self.buffers, 74: self.size, 75: self.interval}[number](buffer)

    def capabilities(self, buffer: bytearray) -> None:
        all_caps = self.caps | CAPTURE | META | DEVICE_CAPS  # of the whole camera, all its nodes together
        texts = (b"uvcvideo", self.name.encode(), b"usb-0000:00:14.0-1")
        struct.pack_into("=16s32s32sIII", buffer, 0, *texts, 6 << 16, all_caps, self.caps)

    def format(self, buffer: bytearray) -> None:
        index, kind = struct.unpack_from("=II", buffer)
        assert kind == 1
        fourcc = self.nth(list(self.formats), index)
        struct.pack_into("=32sI", buffer, 12, f"{fourcc} pictures".encode(), self.code(fourcc))

    def size(self, buffer: bytearray) -> None:
        index, code = struct.unpack_from("=II", buffer)
        if self.stepwise:
            self.nth([0], index)
            struct.pack_into("=7I", buffer, 8, 3, *self.stepwise)
            return
        struct.pack_into("=3I", buffer, 8, 1, *self.nth(list(self.formats[self.fourcc(code)]), index))

    def interval(self, buffer: bytearray) -> None:
        index, code, *size = struct.unpack_from("=4I", buffer)
        if self.intervals:
            struct.pack_into("=5I", buffer, 16, 3, *self.intervals)
            return
        known = self.formats[self.fourcc(code)].get(tuple(size), [])
        struct.pack_into("=3I", buffer, 16, 1, *self.nth(known, index))

    def buffers(self, buffer: bytearray) -> None:
        assert struct.unpack_from("=3I", buffer) == (0, 1, 1), "asking must not take anything"
        if self.streaming:
            raise OSError(errno.EBUSY, "busy")

    def nth(self, items: list[Any], index: int) -> Any:
        if index >= len(items):
            raise OSError(errno.EINVAL, "no more")
        return items[index]

    def code(self, fourcc: str) -> int:
        return int.from_bytes(fourcc.ljust(4).encode(), "little")

    def fourcc(self, code: int) -> str:
        return code.to_bytes(4, "little").decode().strip()


UVC = Node(
    formats={
        "MJPG": {(1280, 720): [(1, 30), (1001, 30000)], (640, 480): [(1, 30)]},
        "YUYV": {(640, 480): [(1, 30), (1, 15)], (1280, 720): [(1, 10)]},
    }
)


class Machine:
    """A /dev and a /sys."""

    def __init__(self, root: Path) -> None:
        self.dev, self.sys = root / "dev", root / "sys"
        self.dev.mkdir()
        self.nodes: dict[str, Node] = {}

    def plug(self, number: int, node: Node, *, by_id: str = "", by_path: str = "") -> str:
        path = self.dev / f"video{number}"
        path.touch()
        self.nodes[str(path)] = node
        for folder, name in (("by-id", by_id), ("by-path", by_path)):
            if name:
                links = self.dev / "v4l" / folder
                links.mkdir(parents=True, exist_ok=True)
                (links / name).symlink_to(f"../../video{number}")
        return str(path)

    def cameras(self) -> list[v4l2.Camera]:
        return v4l2.cameras(self.dev, self.sys)

    def ioctl(self, descriptor: int, code: int, buffer: bytearray) -> None:
        direction, size, letter, number = code >> 30, code >> 16 & 0x3FFF, code >> 8 & 0xFF, code & 0xFF
        assert (direction, size, letter) == (2 if number == 0 else 3, len(buffer), ord("V"))
        node = self.nodes.get(os.readlink(f"/proc/self/fd/{descriptor}"))
        if node is None:
            raise OSError(errno.ENOTTY, "not a typewriter")
        node.answer(number, buffer)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine(tmp_path)
    monkeypatch.setattr(v4l2, "ioctl", machine.ioctl)
    return machine


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    def refuse(number: int) -> None:
        def no(*_: object) -> int:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr(os, "open", no)

    return refuse


def test_the_requests_are_those_of_videodev2_h() -> None:
    """Sizes of the structures, as the kernel's header has them on x86-64 and arm64."""
    requests = (v4l2._QUERYCAP, v4l2._ENUM_FMT, v4l2._REQBUFS, v4l2._ENUM_FRAMESIZES, v4l2._ENUM_FRAMEINTERVALS)
    assert [request[2].size for request in requests] == [104, 64, 20, 44, 52]


def test_a_machine_without_cameras(tmp_path: Path) -> None:
    assert v4l2.cameras(tmp_path, tmp_path) == []
    assert v4l2.cameras(tmp_path / "nothing", tmp_path / "nothing") == []
    assert v4l2.camera(tmp_path / "video0", tmp_path, tmp_path) is None


def test_what_a_camera_has(machine: Machine) -> None:
    machine.plug(0, UVC, by_id="usb-HD_Cam-video-index0", by_path="pci-usb-video-index0")
    (found,) = machine.cameras()
    assert found.path == str(machine.dev / "video0")
    assert found.stable_id == str(machine.dev / "v4l/by-id/usb-HD_Cam-video-index0")
    assert (found.name, found.bus, found.problem) == ("HD Cam", "usb-0000:00:14.0-1", None)
    assert [(pixels.fourcc, pixels.description) for pixels in found.formats] == [
        ("MJPG", "MJPG pictures"),
        ("YUYV", "YUYV pictures"),
    ]
    assert found.formats[0].sizes == (
        v4l2.Size(1280, 720, (Fraction(30), Fraction(30000, 1001))),
        v4l2.Size(640, 480, (Fraction(30),)),
    )


def test_a_description_is_json(machine: Machine) -> None:
    machine.plug(0, UVC)
    (found,) = machine.cameras()
    described = json.loads(json.dumps(found.describe()))
    assert described["formats"][0]["sizes"][0] == {"width": 1280, "height": 720, "rates": [30.0, 29.97]}
    assert described["stable_id"] is None


def test_nodes_for_metadata_are_left_out_and_numbers_sort_as_numbers(machine: Machine) -> None:
    for number in (10, 2, 0):
        machine.plug(number, Node(name=f"cam {number}"))
        machine.plug(number + 1, Node(caps=META | STREAMING))
    (machine.dev / "video-names").touch()
    (machine.dev / "video77").touch()  # not a video device at all
    assert [camera.name for camera in machine.cameras()] == ["cam 0", "cam 2", "cam 10"]


def test_a_camera_without_an_id_is_known_by_its_place(machine: Machine) -> None:
    machine.plug(0, Node(), by_path="platform-vivid.0-video-index0")
    machine.plug(1, Node(), by_id="usb-other")
    assert machine.cameras()[0].stable_id == str(machine.dev / "v4l/by-path/platform-vivid.0-video-index0")


def test_a_stable_name_leads_to_the_node(machine: Machine) -> None:
    machine.plug(3, Node(name="porch"), by_id="usb-porch")
    found = v4l2.camera(machine.dev / "v4l/by-id/usb-porch", machine.dev, machine.sys)
    assert found is not None
    assert (found.name, found.path) == ("porch", str(machine.dev / "video3"))


def test_any_size_means_the_usual_ones_and_the_largest(machine: Machine) -> None:
    node = Node(formats={"YUYV": {}}, stepwise=(32, 2048, 2, 32, 1536, 2), intervals=(1, 40, 1, 12))
    machine.plug(0, node)
    (found,) = machine.cameras()
    sizes = found.formats[0].sizes
    assert [(size.width, size.height) for size in sizes] == [
        (320, 180),
        (640, 360),
        (640, 480),
        (1280, 720),
        (1920, 1080),
        (2048, 1536),
    ]
    assert sizes[0].rates == (15, 20, 25, 30)


def test_a_driver_that_counts_for_ever(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    node = Node(formats={"YUYV": {(640, 480): [(1, 30)]}})
    monkeypatch.setattr(node, "nth", lambda items, index: items[0])
    monkeypatch.setattr(v4l2, "_MAX_ENTRIES", 4)
    machine.plug(0, node)
    assert [len(pixels.sizes) for pixels in machine.cameras()[0].formats] == [4] * 4


def test_a_driver_that_lists_nothing(machine: Machine) -> None:
    machine.plug(0, Node())
    assert machine.cameras()[0].formats == ()


def test_one_that_streams_elsewhere_is_busy(machine: Machine) -> None:
    path = machine.plug(0, Node(formats=UVC.formats, streaming=True))
    (found,) = machine.cameras()
    assert found.problem == f"is in use by another program; `fuser -v {path}` shows which"
    assert found.formats


def test_pictures_in_several_planes_are_not_for_us(machine: Machine) -> None:
    machine.plug(0, Node(caps=MPLANE | STREAMING))
    assert "multi-planar" in str(machine.cameras()[0].problem)


@pytest.mark.parametrize(
    ("number", "problem"), [(errno.EACCES, "group video"), (errno.EPERM, "group video"), (errno.EBUSY, "fuser -v")]
)
def test_one_that_does_not_open(machine: Machine, refused: Callable[[int], None], number: int, problem: str) -> None:
    machine.plug(0, Node(), by_id="usb-cam")
    machine.plug(1, Node())
    for node, text in (("video0", "0"), ("video1", "1")):
        (machine.sys / "class/video4linux" / node).mkdir(parents=True)
        (machine.sys / "class/video4linux" / node / "index").write_text(f"{text}\n")
    (machine.sys / "class/video4linux/video0/name").write_text("HD Cam\n")
    refused(number)
    (found,) = machine.cameras()  # the second node of a camera is the one for metadata
    assert (found.name, found.formats) == ("HD Cam", ())
    assert found.stable_id == str(machine.dev / "v4l/by-id/usb-cam")
    assert problem in str(found.problem)


def test_one_that_is_not_there_any_more_is_left_out(machine: Machine, refused: Callable[[int], None]) -> None:
    machine.plug(0, Node())
    refused(errno.EIO)
    assert machine.cameras() == []
    refused(errno.ENOENT)
    assert machine.cameras() == []


def test_what_is_no_camera_is_called_so() -> None:
    assert v4l2.explain(errno.ENOTTY, "/dev/null") == "is no camera: `streamd doctor` lists those that are there"
