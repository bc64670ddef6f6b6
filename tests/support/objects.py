"""Still scenes of 720p in which small objects come and go, coded as a camera codes them; what the change gate sees."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from importlib import resources
from typing import Any

import av
import cv2
import numpy as np

from streamd.depth.gate import ChangeGate
from streamd.media.frames import ByteImage, FloatImage
from streamd.states import Change

SIZE, RATE = (1280, 720), 30
OBJECT = 20
"""Sides, px."""
BEFORE, STAYS, PERIOD = 6, (1, 2, 4), 12
"""Pictures: without the object, with it, and of a whole trial."""
MARGIN = 60
"""px between an object and what moves beside it."""


@dataclass(frozen=True)
class Scene:
    name: str
    step: int
    """Code values that the object differs by."""
    sigma: float = 4.0
    """Of the noise, at luma 128; in the dark everywhere."""
    mean: float | None = None
    """Luma of a dark scene."""
    leaves: str = ""
    """A patch that moves in gusts, or half of the picture. They stop before an object comes: beside leaves that move
    just then everything is inferred anyway, which would tell nothing."""
    gain: bool = False
    """The camera turns its gain up and down, one trial after the other: the picture and its noise."""
    bits: int = 2_500_000
    still: int = 20
    """Pictures before the first trial."""


SCENES = (
    Scene("bright, noise 2", 25, 2),
    Scene("bright, noise 6", 25, 6),
    Scene("bright, darker object", -25),
    Scene("bright, 1 Mbit/s", 25, bits=1_000_000),
    Scene("dark, noise 2", 25, 2, mean=15),
    Scene("dark, noise 6", 25, 6, mean=30),
    Scene("dark, gain changes", 25, 4, mean=22, gain=True),
    Scene("noise 6, beside leaves in gusts", 25, 6, leaves="gusts"),
    Scene("beside leaves in gusts", 25, leaves="gusts"),
    Scene("half of it in gusts, darker object", -25, leaves="half"),
    Scene("dark, beside leaves in gusts", 25, 4, mean=22, leaves="gusts"),
    Scene("after long stillness", 25, still=300),
)


@dataclass(frozen=True)
class Found:
    """Of one scene."""

    came: int
    gone: int
    """Objects that were inferred at the first picture with them, and at the first without."""
    trials: int
    alarms: float
    """Share of the pictures in which nothing came, went or moved that were inferred."""


def try_scene(scene: Scene, trials: int, seed: int = 1) -> Found:
    film = _Film(scene, trials, seed)
    seen = inferred(_coded(film.pictures(), scene.bits))
    assert len(seen) == film.count
    quiet = [seen[number] for number in range(3, film.count) if number not in film.events]
    return Found(sum(seen[at] for at in film.comes), sum(seen[at] for at in film.goes), trials, sum(quiet) / len(quiet))


def inferred(pictures: Iterable[av.VideoFrame]) -> list[bool]:
    """Whether the gate has each of these inferred, by a network that answers at once."""
    gate, seen = ChangeGate(refresh_s=1e9), []
    for number, picture in enumerate(pictures):
        change = gate.test(picture, number / RATE)
        seen.append(change is Change.CHANGED)
        if not change.reuses_depth:
            gate.inferred(picture, number / RATE)
    return seen


def still_luma() -> FloatImage:
    """(720, 1280): one picture of the demo clip."""
    with av.open(str(resources.files("streamd") / "assets" / "demo.mp4")) as clip:
        picture = next(itertools.islice(clip.decode(video=0), 30, None)).to_ndarray(format="gray")
    return np.asarray(cv2.resize(picture, SIZE, interpolation=cv2.INTER_CUBIC)).astype(np.float32)


class _Film:
    def __init__(self, scene: Scene, trials: int, seed: int) -> None:
        self._scene, self._random = scene, np.random.default_rng(seed)
        self._luma = still_luma()
        if scene.mean is not None:
            self._luma *= scene.mean / self._luma.mean()
        self._noise = [self._random.standard_normal(self._luma.shape, np.float32) for _ in range(4)]
        self._strength = np.sqrt(np.maximum(self._luma, 16) / 128) if scene.mean is None else np.ones_like(self._luma)
        starts = [scene.still + PERIOD * trial + BEFORE for trial in range(trials)]
        stays = [int(self._random.choice(STAYS)) for _ in starts]
        self.comes = starts
        self.goes = [start + stay for start, stay in zip(starts, stays, strict=True)]
        self.count = scene.still + PERIOD * trials
        self._places = [self._place() for _ in starts]
        self.events = {*self.comes, *self.goes} | {number for number in range(self.count) if self._changes(number)}

    def pictures(self) -> Iterator[ByteImage]:
        for number in range(self.count):
            luma, gain = self._luma.copy(), self._gain(number)
            if self._moves(number):
                self._stir(luma)
            elif self._scene.leaves:
                self._stir(luma, (0, 0))
            trial = (number - self._scene.still) // PERIOD
            if trial >= 0 and self.comes[trial] <= number < self.goes[trial]:
                x, y = self._places[trial]
                luma[y : y + OBJECT, x : x + OBJECT] += self._scene.step / gain
            across, down = self._random.integers(0, SIZE[0]), self._random.integers(0, SIZE[1])
            noise = np.roll(self._noise[number % 4], (down, across), (0, 1))
            yield np.clip((luma + noise * self._strength * self._scene.sigma) * gain, 0, 255).round().astype(np.uint8)

    def _place(self) -> tuple[int, int]:
        """Anywhere, but where what is seen of it is cut off by black or white, or moves itself."""
        while True:
            x, y = (int(self._random.integers(0, side - OBJECT)) for side in SIZE)
            behind = self._luma[y : y + OBJECT, x : x + OBJECT]
            left, top, right, bottom = self._patch()
            moves = left - OBJECT - MARGIN < x < right + MARGIN and top - OBJECT - MARGIN < y < bottom + MARGIN
            if not moves and behind.min() + min(self._scene.step, 0) >= 0 and behind.max() + self._scene.step <= 255:
                return x, y

    def _patch(self) -> tuple[int, int, int, int]:
        """Left, top, right, bottom of what moves."""
        kinds = {"": (0, -999, 0, -999), "half": (0, 0, SIZE[0] // 2, SIZE[1])}
        return kinds.get(self._scene.leaves, (880, 60, 1180, 300))

    def _stir(self, luma: FloatImage, by: tuple[int, int] | None = None) -> None:
        left, top, right, bottom = self._patch()
        moved = tuple(self._random.integers(-6, 7, 2)) if by is None else by
        luma[top:bottom, left:right] = np.roll(self._luma[top:bottom, left:right], moved, (0, 1))

    def _moves(self, number: int) -> bool:
        within = (number - self._scene.still) % PERIOD
        return self._scene.leaves != "" and not BEFORE - 2 <= within < PERIOD - 1

    def _gain(self, number: int) -> float:
        return 1.4 if self._scene.gain and (number - self._scene.still) // PERIOD % 2 else 1.0

    def _changes(self, number: int) -> bool:
        """Whether something changes beside the object."""
        leaves = self._moves(number) or self._moves(number - 1)
        return leaves or self._gain(number) != self._gain(number - 1)


def _coded(pictures: Iterable[ByteImage], bits: int) -> Iterator[av.VideoFrame]:
    """As a camera sends them: H.264, a keyframe each 2 s, no B-frames."""
    memory = io.BytesIO()
    with av.open(memory, "w", format="mp4") as output:
        video: Any = output.add_stream("libx264", rate=RATE, options={"preset": "veryfast", "g": "60", "bf": "0"})
        video.width, video.height, video.pix_fmt, video.bit_rate = *SIZE, "yuv420p", bits
        chroma = np.full((SIZE[1] // 2, SIZE[0]), 128, np.uint8)
        for number, luma in enumerate(pictures):
            picture = av.VideoFrame.from_ndarray(np.vstack([luma, chroma]), format="yuv420p")
            picture.pts, picture.time_base = number, Fraction(1, RATE)
            output.mux(video.encode(picture))
        output.mux(video.encode(None))
    memory.seek(0)
    with av.open(memory, "r") as clip:
        yield from clip.decode(video=0)
