"""What a network is quantised by, and what it is tried on: pictures of this box, by scene."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO

import cv2
import numpy as np

from streamd.depth.demo_clip import clip_inputs
from streamd.depth.int8.drawn import draw
from streamd.depth.models.base import Preprocessing
from streamd.depth.preprocess import still_input
from streamd.media.frames import FloatImage

MAX_TAKES = 24
"""Of those that calibrate, and of those that test."""
ENOUGH = 8
"""Takes of this box, to go without the demo clip."""
ENOUGH_PICTURES = 48
"""With fewer to calibrate on, each is used recoloured and with noise, too."""
_BUILT_IN = 12
_DRAWN = 8
_ALIKE = 0.9
_GLANCE = (16, 16)


@dataclass(frozen=True)
class Take:
    """Pictures of one source, one after the other, as the network sees them: masks are applied."""

    source: str
    """A stream, a file, a picture."""
    planes: FloatImage
    """(n, 3, h, w), float16 or float32."""

    @property
    def glance(self) -> FloatImage:
        """What the first picture looks like, whatever its light: (256,), of mean 0 and length 1."""
        gray = self.planes[0].astype(np.float32).mean(axis=0)
        small = cv2.resize(gray, _GLANCE, interpolation=cv2.INTER_AREA).ravel()
        small = small - small.mean()
        return np.asarray(small / max(float(np.linalg.norm(small)), 1e-6), np.float32)


Examples = Callable[[Preprocessing], Sequence[Take]]
"""Pictures of what a command is to work on, as a network sees them."""


def split(own: Sequence[Take], how: Preprocessing) -> tuple[list[Take], list[Take]]:
    """What to calibrate on, and what to test on: never of the same scene.

    A scene is a source: one stream, one file, one picture. Sources that look alike (two streams of one camera, a file
    that was given twice, the demo clip as a camera) are one scene: a coarse gray picture of one correlates by 0.9 with
    one of the other. Every second of this box's own scenes calibrates; the others test, and the demo clip with them.
    Where there are few pictures of this box, the demo clip calibrates, and drawn pictures test.
    """
    clip = built_in(how)
    scenes = _scenes(own)
    if not are_enough(own):
        scenes = [clip, *(scene for scene in scenes if not _alike(scene, clip))]
    learnt, tests = scenes[::2], scenes[1::2]
    if not any(_alike(scene, clip) for scene in learnt):
        tests.append(clip)
    if not any(len(take.planes) > 1 for scene in tests for take in scene):
        tests.append(drawn(how))
    return _thinned(learnt), _thinned(tests)


def are_enough(own: Sequence[Take]) -> bool:
    """Of this box, to calibrate on."""
    return len(own) >= ENOUGH


def _scenes(takes: Sequence[Take]) -> list[list[Take]]:
    sources: dict[str, list[Take]] = {}
    for take in takes:
        sources.setdefault(take.source, []).append(take)
    scenes: list[list[Take]] = []
    for source in sorted(sources):
        scene = sources[source]
        for other in [other for other in scenes if _alike(scene, other)]:
            scenes.remove(other)
            scene = other + scene
        scenes.append(scene)
    return scenes


def _alike(some: Sequence[Take], others: Sequence[Take]) -> bool:
    one, other = (np.stack([take.glance for take in takes]) for takes in (some, others))
    return bool((one @ other.T).max() > _ALIKE)


def _thinned(scenes: Sequence[Sequence[Take]]) -> list[Take]:
    """The same number of each scene, spread over it."""
    most = max(MAX_TAKES // max(len(scenes), 1), 1)
    chosen = []
    for scene in scenes[:MAX_TAKES]:
        places = np.linspace(0, len(scene) - 1, min(most, len(scene))).round().astype(int)
        chosen += [scene[place] for place in places]
    return chosen


def built_in(how: Preprocessing) -> list[Take]:
    """Of the demo clip."""
    return [Take("demo clip", planes) for planes in clip_inputs(how, _BUILT_IN, 2)]


def drawn(how: Preprocessing) -> list[Take]:
    return [
        Take(f"drawn {seed}", np.stack([still_input(picture, how) for picture in draw(seed, 2)]))
        for seed in range(_DRAWN)
    ]


def calibration(takes: Sequence[Take], how: Preprocessing) -> list[FloatImage]:
    """(1, 3, h, w) float32 each."""
    pictures = [planes[None].astype(np.float32) for take in takes for planes in take.planes]
    if len(pictures) < ENOUGH_PICTURES:
        random = np.random.default_rng(0)
        pictures += [_recoloured(planes, how, random) for planes in pictures]
    return pictures


def _recoloured(planes: FloatImage, how: Preprocessing, random: np.random.Generator) -> FloatImage:
    mean, std = (np.array(each, np.float32).reshape(1, 3, 1, 1) for each in (how.mean, how.std))
    pixels = (planes * std + mean).clip(0, 1)[:, random.permutation(3)]
    pixels = pixels ** random.uniform(0.6, 1.6) + random.normal(0, 0.02, planes.shape)
    return np.asarray((pixels.clip(0, 1) - mean) / std, np.float32)


def write(takes: Sequence[Take], file: IO[bytes]) -> None:
    arrays = {str(number): take.planes for number, take in enumerate(takes)}
    np.savez(file, sources=np.array([take.source for take in takes], np.str_), **arrays)  # type: ignore[arg-type]


def read(descriptor: int) -> list[Take]:
    """Of what ``write`` wrote; closes it."""
    with os.fdopen(descriptor, "rb") as file:
        file.seek(0)
        with np.load(file) as content:
            return [Take(str(source), content[str(number)]) for number, source in enumerate(content["sources"])]
