"""What is left out while nothing changes: nothing that is seen to change is ever shown late. With burnt-in numbers."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise
from typing import Any, Literal

import av
import numpy as np
import pytest

from streamd.config.sections import View
from streamd.errors import SourceStalled
from streamd.media.frames import EncodedPacket, Picture, Scaler, canvas, yuv_planes
from streamd.streams import renditions
from streamd.streams.renditions import RenditionOutput
from tests.integration.test_stream import NAME, Bench, playing

pytestmark = pytest.mark.timeout(30)

SIZE = (640, 360)
BITS, SPACE = 8, 40
LIFE = 12
"""Pictures that a number stays for in those scenes where it seldom changes."""
Patch = Literal["blocks", "specks"]
SIDES: dict[Patch, int] = {"blocks": 16, "specks": 2}
"""px of a bit. A change of a block is inferred, one of a speck is too small for that."""
DARK, BRIGHT = 60, 150


class Camera:
    """A still, noisy scene with a number in it."""

    def __init__(self, bench: Bench, patch: Patch) -> None:
        self._bench = bench
        self._side = SIDES[patch]
        self._random = np.random.default_rng(1)
        self._scene = np.repeat(np.repeat(self._random.integers(40, 90, (9, 16)), 40, 0), 40, 1)
        self._scene[:SPACE, : SPACE * BITS] = DARK

    async def show(self, number: int) -> None:
        """And waits until the picture is the newest: those before have been published by then."""
        before = self.newest
        self._bench.camera.show(self.picture(number))
        await self._bench.until(lambda: self.newest > before)
        await asyncio.sleep(0)

    def picture(self, number: int) -> Picture:
        luma = self._scene + self._random.normal(0, 1.0, self._scene.shape)
        for bit in range(BITS):
            x = SPACE * bit + SPACE // 2
            if number >> bit & 1:
                luma[16 : 16 + self._side, x : x + self._side] = BRIGHT
        picture = canvas(*SIZE)
        y, *chroma = yuv_planes(picture)
        y[:] = luma
        for plane in chroma:
            plane[:] = 128
        return picture

    def number_in(self, picture: Picture) -> int:
        """At the left of views of any width."""
        gray, middle = Scaler().luma(picture), 16 + self._side // 2
        at = (SPACE * bit + SPACE // 2 + self._side // 2 for bit in range(BITS))
        spots = [gray[middle - 1 : middle + 1, x - 1 : x + 1].mean() for x in at]
        return sum(int(spot > (DARK + BRIGHT) / 2) << bit for bit, spot in enumerate(spots))

    @property
    def newest(self) -> int:
        """Its place in the order of all pictures."""
        newest = self._bench.stream.newest
        return newest.frame.stamp.sequence if newest else -1


class Viewer:
    """Decodes what comes, as it comes."""

    def __init__(self) -> None:
        self.newest: Picture | None = None
        self._decoder = av.CodecContext.create("h264", "r")
        self._decoder.flags |= 0x80000  # low delay

    def push(self, packet: EncodedPacket) -> None:
        for picture in self._decoder.decode(av.Packet(packet.data)):
            self.newest = picture

    def close(self) -> None:
        pass


@pytest.fixture(autouse=True)
def no_repeats(monkeypatch: pytest.MonkeyPatch) -> None:
    """They would hide what is not shown for its own sake."""
    monkeypatch.setattr(renditions, "REPEAT_S", 60.0)
    monkeypatch.setattr(renditions, "FIRST_REPEAT_S", 60.0)


@pytest.mark.parametrize("patch", SIDES)
@pytest.mark.parametrize("view", ["source", "side-by-side", "rgbd"])
@pytest.mark.parametrize("life", [1, LIFE])
async def test_a_number_is_shown_before_the_next_picture_is(patch: Patch, view: View, life: int) -> None:
    numbers = [
        number for number in np.random.default_rng(2).permutation(64).tolist()[: 48 // life] for _ in range(life)
    ]
    async with playing(refresh_s=60.0) as bench:
        camera, viewer = Camera(bench, patch), Viewer()
        bench.stream.hub(view).join(viewer)
        await camera.show(numbers[0])
        for before, number in pairwise(numbers):
            await camera.show(number)
            assert viewer.newest is not None
            assert camera.number_in(viewer.newest) in (before, number)
            newest = bench.stream.newest
            assert newest is not None
            assert camera.number_in(newest.frame.picture) == number, "for stills and Motion JPEG"
        unchanged = bench.metric("streamd_frames_unchanged_total")
        inferred = bench.metric("streamd_inferences_total")
    assert unchanged + inferred == len(numbers)
    if life > 1 or patch == "specks":
        assert unchanged >= len(numbers) * (1 - 2 / life if patch == "blocks" else 0.8)


async def test_a_number_is_shown_though_its_own_picture_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Encoding takes longer than the camera's pictures are apart."""
    publish = RenditionOutput.publish

    def slow(self: RenditionOutput, *arguments: Any, **options: Any) -> bool:
        time.sleep(0.03)
        return publish(self, *arguments, **options)

    monkeypatch.setattr(RenditionOutput, "publish", slow)
    async with playing(refresh_s=60.0) as bench:
        camera, viewer = Camera(bench, "specks"), Viewer()
        bench.stream.hub("source").join(viewer)
        await camera.show(0)
        for number in range(1, 12):
            for shown in (100 + number, number, number, number):
                bench.camera.show(camera.picture(shown))
                await asyncio.sleep(0.008)
            await bench.until(lambda: camera.newest >= 4 * number)  # noqa: B023
            await camera.show(number)
            await camera.show(number)
            assert viewer.newest is not None
            assert camera.number_in(viewer.newest) == number
        assert bench.metric("streamd_frames_skipped_total", reason="overflow") > 0


async def test_a_picture_like_the_last_one_takes_the_place_of_no_signal() -> None:
    async with playing(refresh_s=60.0) as bench:
        camera, viewer = Camera(bench, "blocks"), Viewer()
        bench.stream.hub("source").join(viewer)
        await camera.show(21)
        await camera.show(21)
        bench.camera.end(SourceStalled(NAME, "went silent"))
        await bench.state("reconnecting")
        await bench.until(lambda: viewer.newest is not None and camera.number_in(viewer.newest) != 21)
        await camera.show(21)
        await camera.show(21)
        assert viewer.newest is not None
        assert camera.number_in(viewer.newest) == 21
