"""What blending depth over time is worth: flicker, sharpness and cost of `smoothing` 0.5 against 0; all is inferred."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import av
import cv2
import numpy as np

from streamd.config.sections import ModelConfig
from streamd.depth.preprocess import VideoPreprocessor
from streamd.depth.range import DepthRange
from streamd.depth.service import DepthService
from streamd.depth.steady import SteadyDepth
from streamd.depth.store import ModelStore, default_directories
from streamd.media.frames import ByteImage, FloatImage

RATE, SMOOTHING, FRAMES = 30, 0.5, 120
FITS = 8
"""Code values: where luma differs by more from what moved there, the movement is not known."""
STEEP = 5
"""Percent of the gradients that sharpness counts."""


class Shown:
    """One way to show the depth of a clip."""

    def __init__(self, smoothing: float) -> None:
        self._steady, self._range = SteadyDepth(smoothing), DepthRange()
        self._last: FloatImage | None = None
        self.flicker: list[float] = []
        self.sharpness: list[float] = []
        self.cpu_s = 0.0

    def show(self, depth: FloatImage, luma: ByteImage, at_s: float, moved: Moved) -> None:
        began = time.thread_time()
        blended = self._steady.blend(depth, luma, "")
        self.cpu_s += time.thread_time() - began
        normalised = self._range.normalise(blended, at_s)
        if self._last is not None:
            self.flicker.append(float(np.abs(normalised - moved(self._last))[moved.known].mean()))
            gradients = np.hypot(cv2.Sobel(normalised, -1, 1, 0), cv2.Sobel(normalised, -1, 0, 1))
            self.sharpness.append(float(gradients[gradients >= np.percentile(gradients, 100 - STEEP)].mean()))
        self._last = normalised


class Moved:
    """From one picture to the next, by optical flow (DIS)."""

    def __init__(self, before: ByteImage, luma: ByteImage) -> None:
        flow = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(luma, before, None)
        y, x = np.mgrid[: luma.shape[0], : luma.shape[1]].astype(np.float32)
        self._from = x + flow[..., 0], y + flow[..., 1]
        self.known = cv2.absdiff(self(before), luma) <= FITS

    def __call__(self, before: FloatImage | ByteImage) -> FloatImage | ByteImage:
        return np.asarray(cv2.remap(before, *self._from, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE))


def steadiness(clip: Path, model: str, environment: Mapping[str, str]) -> dict[str, float]:
    """Ratios of smoothing to none. Flicker is what the shown depth changes by from picture to picture where it has
    moved to; all pictures count, each is inferred."""
    plain, steady = Shown(0.0), Shown(SMOOTHING)
    before: ByteImage | None = None
    count = 0
    for depth, luma in _inferred(clip, model, environment):
        moved = Moved(luma if before is None else before, luma)
        for shown in (plain, steady):
            shown.show(depth, luma, count / RATE, moved)
        before, count = luma, count + 1
    return {
        "flicker_plain": float(np.mean(plain.flicker)),
        "flicker": float(np.mean(steady.flicker) / np.mean(plain.flicker)),
        "sharpness": float(np.mean(steady.sharpness) / np.mean(plain.sharpness)),
        "cpu_ms": 1e3 * (steady.cpu_s - plain.cpu_s) / count,
    }


def _inferred(clip: Path, model: str, environment: Mapping[str, str]) -> Iterator[tuple[FloatImage, ByteImage]]:
    service = DepthService(ModelConfig(name=model), ModelStore(*default_directories(environment)))
    service.start()
    info, preprocess = service.wait_ready(), VideoPreprocessor()
    try:
        with av.open(str(clip)) as source:
            for _, picture in zip(range(FRAMES), source.decode(video=0), strict=False):
                planes, luma = preprocess(picture, info.spec.preprocessing)
                yield service.submit(info, planes, picture=(picture.width, picture.height)).result(), luma
    finally:
        service.close()
