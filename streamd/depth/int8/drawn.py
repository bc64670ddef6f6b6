"""Pictures drawn by chance: things on a floor before a wall, all with grain. What there is when nothing else is."""

from __future__ import annotations

import cv2
import numpy as np

from streamd.media.frames import ByteImage, FloatImage

WIDTH, HEIGHT = 384, 216
_THINGS = 6


def draw(seed: int, count: int) -> list[ByteImage]:
    """``count`` pictures (216, 384, 3), RGB, one after the other: the things move."""
    random = np.random.default_rng(seed)
    horizon = int(HEIGHT * random.uniform(0.35, 0.55))
    room = _room(random, horizon)
    things = sorted((_Thing(random) for _ in range(_THINGS)), key=lambda thing: thing.near)
    pictures = []
    for number in range(count):
        picture = room.copy()
        for thing in things:
            picture = thing.drawn(picture, horizon, number)
        picture = cv2.GaussianBlur(picture, (0, 0), 1) + random.normal(0, 2, room.shape)
        pictures.append(picture.clip(0, 255).astype(np.uint8))
    return pictures


def _grain(random: np.random.Generator) -> FloatImage:
    grain = np.full((HEIGHT, WIDTH, 3), random.uniform(40, 215, 3), np.float32)
    for step in (4, 16, 64):
        coarse = random.normal(0, 14, (HEIGHT // step, WIDTH // step, 3)).astype(np.float32)
        grain += cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    return grain


def _room(random: np.random.Generator, horizon: int) -> FloatImage:
    wall = _grain(random) * np.linspace(0.6, 1, HEIGHT, dtype=np.float32)[:, None, None]
    flat = np.array([[0, 0], [WIDTH, 0], [WIDTH, HEIGHT], [0, HEIGHT]], np.float32)
    seen = np.array([[0.2 * WIDTH, horizon], [0.8 * WIDTH, horizon], [2 * WIDTH, HEIGHT], [-WIDTH, HEIGHT]], np.float32)
    turn = cv2.getPerspectiveTransform(flat, seen)
    floor = cv2.warpPerspective(_grain(random), turn, (WIDTH, HEIGHT), borderMode=cv2.BORDER_WRAP)
    light = np.linspace(0.5, 1.1, HEIGHT - horizon, dtype=np.float32)[:, None, None]
    wall[horizon:] = floor[horizon:] * light
    return wall


class _Thing:
    """A box or a ball that stands on the floor."""

    def __init__(self, random: np.random.Generator) -> None:
        self.near = random.uniform(0.15, 1)
        self._x, self._speed = random.uniform(0, WIDTH), random.uniform(-4, 4)
        self._round = bool(random.integers(2))
        self._grain = _grain(random)

    def drawn(self, picture: FloatImage, horizon: int, number: int) -> FloatImage:
        foot, height = int(horizon + (HEIGHT - horizon) * self.near), int(0.65 * HEIGHT * self.near)
        width, x = height // 2, int(self._x + self._speed * self.near * number)
        shape = np.zeros((HEIGHT, WIDTH), np.float32)
        if self._round:
            cv2.ellipse(shape, (x, foot - height // 2), (width // 2, height // 2), 0, 0, 360, 1, cv2.FILLED)
        else:
            cv2.rectangle(shape, (x - width // 2, foot - height), (x + width // 2, foot), 1, cv2.FILLED)
        shape = cv2.GaussianBlur(shape, (3, 3), 0)[..., None]
        shade = np.clip(1 - 0.5 * (np.arange(WIDTH, dtype=np.float32) - x) / max(width, 1), 0.4, 1.3)[None, :, None]
        return np.asarray(picture * (1 - shape) + self._grain * shade * shape, np.float32)
