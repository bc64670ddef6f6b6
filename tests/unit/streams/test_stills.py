"""Stills: of the newest frame, shared by who asks for the same, bounded, and in no stream's thread."""

from __future__ import annotations

import asyncio
import io
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import av
import cv2
import numpy as np
import pytest

from streamd.config.sections import FORMATS, VIEWS, PictureFormat, StreamConfig, View
from streamd.errors import Busy, PictureError
from streamd.media.frames import DepthFrame, NormalisedFrame, Provenance, Scaler, Stamp, yuv_planes
from streamd.render.colormap import INFERNO_RGB
from streamd.streams import stills
from streamd.streams.stills import MAX_STILLS, MAX_STILLS_PER_STREAM, Stills, make_still

pytestmark = pytest.mark.timeout(10)


def frame(sequence: int = 0, size: tuple[int, int] = (192, 128)) -> NormalisedFrame:
    """Gray, with depth that grows to the right."""
    picture = av.VideoFrame(*size, "yuv420p")
    for plane in yuv_planes(picture):
        plane[:] = 128
    depth = np.tile(np.linspace(0, 10, 32, dtype=np.float32), (16, 1))
    provenance = Provenance("embedded", "ab", "inverse_depth", "openvino", "fp32")
    depth_frame = DepthFrame(Stamp(sequence, 0, 0.0), picture, depth, np.zeros((16, 32), np.uint8), depth, provenance)
    return NormalisedFrame(depth_frame, depth / np.float32(10))


class Stream:
    """As much of one as a still needs."""

    def __init__(self, name: str = "porch", **config: Any) -> None:
        self.name = name
        self.config = StreamConfig(source="demo:", **config)
        self.newest: NormalisedFrame | None = frame()
        self.calibrated = None

    async def frame(self) -> NormalisedFrame:
        if self.newest is None:
            raise PictureError("no frame yet")
        return self.newest

    def keep_awake(self) -> Any:
        return nullcontext()


class Seam:
    """Stands in for ``make_still``: each still waits for ``go_on``."""

    def __init__(self) -> None:
        self.began = threading.Semaphore(0)
        self.go_on = threading.Semaphore(0)
        self.made: list[tuple[str, str, str, int]] = []

    def __call__(self, frame: NormalisedFrame, view: View, format: PictureFormat, config: Any, *_: Any) -> memoryview:
        self.began.release()
        assert self.go_on.acquire(timeout=5)
        self.made.append((config.source, view, format, frame.frame.stamp.sequence))
        return memoryview(b"%d" % frame.frame.stamp.sequence)

    async def until_began(self) -> None:
        while not self.began.acquire(blocking=False):  # noqa: ASYNC110
            await asyncio.sleep(0.001)


@pytest.fixture
def seam(monkeypatch: pytest.MonkeyPatch) -> Seam:
    seam = Seam()
    monkeypatch.setattr(stills, "make_still", seam)
    return seam


@pytest.fixture
def maker() -> Iterator[Stills]:
    maker = Stills()
    yield maker
    maker.close()


def asks(maker: Stills, stream: Stream, view: View = "depth", format: PictureFormat = "png") -> asyncio.Task[Any]:
    return asyncio.create_task(maker.make(stream, view, format))  # type: ignore[arg-type]


async def settle() -> None:
    """What was asked for has got as far as it can without a still."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_who_asks_for_the_same_shares_it(maker: Stills, seam: Seam) -> None:
    porch = Stream()
    first = asks(maker, porch)
    await seam.until_began()
    others = [asks(maker, porch) for _ in range(50)]
    seam.go_on.release()
    assert [bytes(data) for data in await asyncio.gather(first, *others)] == [b"0"] * 51
    assert len(seam.made) == 1


async def test_a_newer_frame_is_a_new_still(maker: Stills, seam: Seam) -> None:
    """Who waits for a still that has not begun gets the newest frame of the time when it does."""
    porch = Stream()
    first = asks(maker, porch)
    await seam.until_began()
    others = []
    for sequence in (1, 2, 3):
        porch.newest = frame(sequence)
        others.append(asks(maker, porch))
        await settle()
    seam.go_on.release(2)
    assert bytes(await first) == b"0"
    assert [bytes(data) for data in await asyncio.gather(*others)] == [b"3"] * 3
    assert len(seam.made) == 2


async def test_one_who_gives_up_leaves_it_to_the_others(maker: Stills, seam: Seam) -> None:
    porch = Stream()
    first, second = asks(maker, porch), asks(maker, porch)
    await seam.until_began()
    first.cancel()
    seam.go_on.release()
    assert bytes(await second) == b"0"


async def test_no_still_is_kept(maker: Stills, seam: Seam) -> None:
    porch = Stream()
    seam.go_on.release(2)
    await asks(maker, porch)
    await asyncio.gather(asks(maker, porch, format="jpg"))
    async with asyncio.timeout(5):
        while len(maker._jobs):  # noqa: ASYNC110
            await asyncio.sleep(0.001)  # the executor's thread lets go of it a moment later


async def test_a_stream_has_room_for_some_and_leaves_room_for_the_others(maker: Stills, seam: Seam) -> None:
    porch, garage = Stream(), Stream("garage")
    kinds: list[tuple[View, PictureFormat]] = [(view, format) for view in VIEWS for format in FORMATS]
    asked = [asks(maker, porch, *kind) for kind in kinds[:MAX_STILLS_PER_STREAM]]
    await settle()
    with pytest.raises(Busy):
        await asks(maker, porch, *kinds[MAX_STILLS_PER_STREAM])
    other = asks(maker, garage)
    await settle()
    seam.go_on.release(MAX_STILLS_PER_STREAM + 1)
    assert bytes(await other) == b"0"
    await asyncio.gather(*asked)
    seam.go_on.release()
    assert await asks(maker, porch), "there is room again"


async def test_all_streams_together_have_a_bound_too(maker: Stills, seam: Seam) -> None:
    asked = [asks(maker, Stream(str(number))) for number in range(MAX_STILLS)]
    await settle()
    with pytest.raises(Busy):
        await asks(maker, Stream())
    seam.go_on.release(MAX_STILLS)
    await asyncio.gather(*asked)


async def test_one_of_many_waits_for_one_of_another_stream_at_most(
    maker: Stills, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    go_on, began = threading.Event(), threading.Event()

    def note(frame: object, view: str, format: str, config: StreamConfig, *_: object) -> memoryview:
        began.set()
        go_on.wait(5)
        order.append(format)
        return memoryview(b"")

    monkeypatch.setattr(stills, "make_still", note)
    porch, garage = Stream(), Stream("garage")
    greedy = [asks(maker, porch, "depth", format) for format in ("png", "npz", "ply")]
    while not began.is_set():  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    modest = asks(maker, garage, "depth", "jpg")
    await settle()
    go_on.set()
    await asyncio.gather(*greedy, modest)
    assert order == ["png", "jpg", "npz", "ply"]


async def test_what_goes_wrong_is_one_line(
    maker: Stills, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> memoryview:
        raise ZeroDivisionError("test")

    monkeypatch.setattr(stills, "make_still", fail)
    with pytest.raises(PictureError, match=r"^cannot be made: test$"):
        await asks(maker, Stream())
    assert caplog.messages == ["stream porch: still"]
    monkeypatch.undo()
    assert await asks(maker, Stream()), "the next one is made"


async def test_there_is_none_before_the_first_frame(maker: Stills) -> None:
    porch = Stream()
    porch.newest = None
    with pytest.raises(PictureError, match=r"^no frame yet$"):
        await asks(maker, porch)


async def test_a_stream_that_stops_meanwhile_still_gives_its_last_frame(maker: Stills, seam: Seam) -> None:
    porch, garage = Stream(), Stream("garage")
    before = asks(maker, garage)
    await seam.until_began()
    asked = asks(maker, porch)
    await settle()
    porch.newest = None
    seam.go_on.release(2)
    assert bytes(await asked) == b"0"
    await before


def read(data: memoryview) -> np.ndarray:
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED))


def still(view: View, format: PictureFormat, **config: Any) -> memoryview:
    return make_still(frame(), view, format, StreamConfig(source="demo:", **config), Scaler())


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("format", ["jpg", "png"])
def test_pictures_have_the_cameras_size(view: View, format: PictureFormat) -> None:
    """Whatever ``height`` the video has."""
    width = 384 if view in ("side-by-side", "rgbd") else 192
    assert read(still(view, format, height=64)).shape == (128, width, 3)


@pytest.mark.parametrize("alpha", [0.0, 0.25, 1.0])
def test_overlays_are_blended_as_in_the_video(alpha: float) -> None:
    found = read(still("overlay", "png", overlay_alpha=alpha))[..., ::-1]
    depth, source = (read(still(view, "png"))[..., ::-1].astype(float) for view in ("depth", "source"))
    np.testing.assert_allclose(found, alpha * depth + (1 - alpha) * source, atol=1)
    assert (read(still("depth", "png"))[0, -1, ::-1] == INFERNO_RGB[255]).all()


def test_edges_change_what_is_shown_and_no_value() -> None:
    step = np.repeat(np.array([0.1, 0.3, 0.5, 0.7, 0.9], np.float32), [60, 1, 1, 1, 65])
    shown = NormalisedFrame(frame().frame, np.tile(step, (64, 1)))

    def made(format: PictureFormat, edges: str) -> bytes:
        config = StreamConfig(source="demo:", edges=edges)  # type: ignore[arg-type]
        return bytes(make_still(shown, "depth", format, config, Scaler()))

    assert [made(format, "crisp") == made(format, "plain") for format in FORMATS] == [
        format in ("png16", "npz", "ply") for format in FORMATS
    ]


def test_depth_files() -> None:
    png16 = read(still("depth", "png16"))
    assert png16.dtype == np.uint16
    assert png16.shape == (128, 192)
    with np.load(io.BytesIO(still("depth", "npz"))) as npz:
        assert npz["inverse_depth"].shape == (128, 192)
        assert npz["network_output"].shape == (16, 32)


def test_a_point_cloud_has_the_cameras_field_of_view() -> None:
    def half_width(degrees: float) -> float:
        body = bytes(still("depth", "ply", horizontal_fov_degrees=degrees)).partition(b"end_header\n")[2]
        xyz = np.frombuffer(body, [("xyz", "<f4", 3), ("rgb", "u1", 3)])["xyz"]
        return float(np.abs(xyz[:, 0] / xyz[:, 2]).max())

    assert half_width(90) / half_width(60) == pytest.approx(np.tan(np.radians(45)) / np.tan(np.radians(30)), rel=1e-3)
