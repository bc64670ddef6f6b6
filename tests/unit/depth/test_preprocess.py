"""The network's input against MiDaS's ``transforms.py``, stated here once more as it is written there."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import av
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.depth.models import MODELS, Preprocessing
from streamd.depth.models.base import Fit
from streamd.depth.preprocess import VideoPreprocessor, network_size, still_input
from streamd.media.frames import ByteImage, FloatImage, yuv_planes

MIDAS = MODELS["midas_small"].preprocessing
EMBEDDED = MODELS["embedded"].preprocessing
SIDES = st.integers(2, 8000)


def reference_size(width: int, height: int, most: int, step: int = 32) -> tuple[int, int]:
    """``Resize.get_size`` with keep_aspect_ratio and resize_method="upper_bound"."""
    scale_height, scale_width = most / height, most / width
    if scale_width < scale_height:
        scale_height = scale_width
    else:
        scale_width = scale_height

    def constrain(x: float) -> int:
        y = int((np.round(x / step) * step).astype(int))
        return int((np.floor(x / step) * step).astype(int)) if y > most else y

    return constrain(np.float64(scale_width * width)), constrain(np.float64(scale_height * height))


def reference_input(rgb: ByteImage, size: tuple[int, int]) -> FloatImage:
    """run.py and ``Resize``, ``NormalizeImage``, ``PrepareForNet``."""
    image = rgb / 255.0
    image = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)
    image = (image - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    return np.ascontiguousarray(np.transpose(image, (2, 0, 1))).astype(np.float32)


def scene(width: int, height: int, seed: int = 0) -> ByteImage:
    """Smooth colours, as pictures have; noise would measure the chroma of 4:2:0 only."""
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC))


@pytest.mark.parametrize(
    ("picture", "network"),
    [
        ((1280, 720), (256, 128)),
        ((1920, 1080), (256, 128)),
        ((640, 480), (256, 192)),
        ((704, 576), (256, 224)),
        ((720, 1280), (128, 256)),
        ((256, 256), (256, 256)),
        ((2560, 1440), (256, 128)),
        ((640, 360), (256, 128)),
        ((1024, 100), (256, 32)),
    ],
)
def test_sizes_of_common_cameras(picture: tuple[int, int], network: tuple[int, int]) -> None:
    assert network_size(*picture, MIDAS) == network


@given(SIDES, SIDES, st.sampled_from([64, 256, 384, 512, 1024]))
def test_every_size_is_the_references(width: int, height: int, most: int) -> None:
    expected = reference_size(width, height, most)
    found = network_size(width, height, replace(MIDAS, input_size=most))
    assert found == (max(expected[0], 32), max(expected[1], 32)), "the reference makes a side of 0 where we make 32"


LOWER = Preprocessing(fit="lower_bound", input_size=384)
LINEAR = replace(LOWER, interpolation="linear", resized_as="uint8", input_size=256)
MINIMAL = Preprocessing(fit="minimal", input_size=384)
BGR = replace(MIDAS, colours="bgr", input_size=128, height=96, fit="exact", multiple_of=1)


@pytest.mark.parametrize(
    ("how", "picture", "network"),
    [
        (LOWER, (1280, 720), (672, 384)),
        (LOWER, (640, 480), (512, 384)),
        (LOWER, (600, 360), (640, 384)),
        (LOWER, (451, 300), (576, 384)),
        (LOWER, (720, 1280), (384, 672)),
        (LOWER, (20000, 100), (3072, 32)),
        (replace(LOWER, input_size=518, multiple_of=14), (640, 480), (686, 518)),
        (replace(LOWER, input_size=518, multiple_of=14), (1280, 720), (924, 518)),
        (MINIMAL, (1280, 720), (672, 384)),
        (MINIMAL, (640, 480), (512, 384)),
        (MINIMAL, (600, 360), (640, 384)),
        (MINIMAL, (451, 300), (384, 256)),
        (MINIMAL, (352, 288), (384, 320)),
        (MINIMAL, (1500, 390), (1472, 384)),
        (MINIMAL, (8 * 390, 390), (2144, 256)),
        (MINIMAL, (390, 8 * 390), (256, 2144)),
        (MINIMAL, (20000, 390), (3072, 64)),
        (MINIMAL, (8000, 2), (384, 32)),
        (Preprocessing(fit="exact", input_size=224), (1280, 720), (224, 224)),
    ],
)
def test_sizes_by_the_other_rules(how: Preprocessing, picture: tuple[int, int], network: tuple[int, int]) -> None:
    assert network_size(*picture, how) == network


@given(SIDES, SIDES, st.sampled_from([32, 14]), st.sampled_from(["lower_bound", "minimal"]))
def test_other_sizes_are_the_references(width: int, height: int, step: int, fit: str) -> None:
    """``Resize.get_size``, whose lower bound is rounded up to; up to the pixels that we bound."""
    how = Preprocessing(fit=cast("Fit", fit), input_size=step * 12, multiple_of=step)
    scale_height, scale_width = how.input_size / height, how.input_size / width
    wider = scale_width > scale_height if fit == "lower_bound" else abs(1 - scale_width) < abs(1 - scale_height)
    scale = scale_width if wider else scale_height

    def constrain(x: float) -> int:
        y = int(np.round(x / step) * step)
        return int(np.ceil(x / step) * step) if fit == "lower_bound" and y < how.input_size else y

    expected = [min(max(constrain(np.float64(scale * side)), step), how.max_side) for side in (width, height)]
    found = network_size(width, height, how)
    if expected[0] * expected[1] <= how.max_pixels:
        assert found == tuple(expected)
    elif max(width, height) <= 16 * min(width, height):
        assert found[0] / found[1] == pytest.approx(width / height, rel=0.15), "the aspect stays"
        assert found[0] * found[1] > 0.8 * how.max_pixels, "and it is no smaller than it has to be"
    assert found[0] * found[1] <= how.max_pixels
    assert how.min_side <= min(found) <= max(found) <= how.max_side


def test_bytes_are_resized_as_bytes() -> None:
    """Rounded and clipped before the division; ``float64`` overshoots."""
    rgb = np.zeros((300, 451, 3), np.uint8)
    rgb[:, 200:] = 255
    how = replace(LOWER, interpolation="linear", resized_as="uint8")
    small = cv2.resize(rgb, (576, 384), interpolation=cv2.INTER_LINEAR)
    expected = (small / 255.0).astype(np.float32).transpose(2, 0, 1)
    np.testing.assert_array_equal(still_input(rgb, how), expected)
    assert still_input(rgb, replace(how, interpolation="cubic")).max() == 1
    assert still_input(rgb, replace(how, interpolation="cubic", resized_as="float64")).max() > 1.01


@given(SIDES, SIDES)
def test_a_size_always_fits_the_worker(width: int, height: int) -> None:
    size = network_size(width, height, MIDAS)
    assert max(size) == 256
    assert all(side % 32 == 0 and side >= 32 for side in size)


@pytest.mark.parametrize(("width", "height"), [(640, 480), (1280, 720), (100, 37), (33, 200), (256, 256)])
def test_a_still_is_the_references_to_the_last_bit(width: int, height: int) -> None:
    rgb = np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    found = still_input(rgb, MIDAS)
    assert (found.dtype, found.flags.c_contiguous) == (np.float32, True)
    np.testing.assert_array_equal(found, reference_input(rgb, network_size(width, height, MIDAS)))


def code_values(planes: FloatImage, how: Preprocessing) -> FloatImage:
    """Back from what the network sees to 0..255."""
    return 255 * (planes * np.array(how.std, np.float32)[:, None, None] + np.array(how.mean, np.float32)[:, None, None])


@pytest.mark.parametrize("how", [MIDAS, EMBEDDED, LINEAR, BGR], ids=["midas_small", "embedded", "linear", "bgr"])
@pytest.mark.parametrize("form", ["yuv420p", "yuvj420p", "yuv422p", "yuv444p", "nv12", "rgb24", "gray", "yuv420p10le"])
@pytest.mark.parametrize("size", [(1280, 720), (642, 480), (720, 1280)])
def test_video_comes_close_to_a_still(how: Preprocessing, form: str, size: tuple[int, int]) -> None:
    """Within 2 code values on average and 10 anywhere (found: 1.7 and 9), whatever the decoder gives."""
    frame = av.VideoFrame.from_ndarray(scene(*size), format="rgb24").reformat(format=form)
    planes, luma = VideoPreprocessor()(frame, how)
    expected = still_input(cast("ByteImage", frame.to_ndarray(format="rgb24")), how)
    assert (planes.shape, planes.dtype) == (expected.shape, np.float32)
    assert (luma.shape, luma.dtype) == (expected.shape[1:], np.uint8)
    stray = np.abs(code_values(planes, how) - code_values(expected, how))
    assert stray.mean() < 2
    assert stray.max() < 10


@pytest.mark.parametrize(
    ("colorspace", "color_range", "codes"),
    [(6, 1, (81, 90, 240)), (1, 1, (63, 102, 240)), (6, 2, (76, 85, 255)), (2, 0, (81, 90, 240))],
    ids=["BT.601", "BT.709", "full range", "unsaid"],
)
def test_red_is_red_however_it_is_coded(colorspace: int, color_range: int, codes: tuple[int, int, int]) -> None:
    frame = av.VideoFrame(64, 64, "yuv420p")
    frame.colorspace, frame.color_range = colorspace, color_range
    for plane, code in zip(yuv_planes(frame), codes, strict=True):
        plane[:] = code
    for how in (MIDAS, EMBEDDED):
        planes, _ = VideoPreprocessor()(frame, how)
        red = code_values(planes, how).mean(axis=(1, 2))
        assert red == pytest.approx([255, 0, 0], abs=4)


def test_luma_moves_with_the_picture_alone() -> None:
    """It is what the flicker meter calls unchanged."""
    preprocess = VideoPreprocessor()
    frame = av.VideoFrame.from_ndarray(scene(320, 180), format="rgb24").reformat(format="yuv420p")
    first, again = preprocess(frame, MIDAS)[1].copy(), preprocess(frame, MIDAS)[1]
    np.testing.assert_array_equal(first, again)
    other = av.VideoFrame.from_ndarray(scene(320, 180, seed=1), format="rgb24").reformat(format="yuv420p")
    assert (first != preprocess(other, MIDAS)[1]).mean() > 0.9


def test_one_preprocessor_serves_any_size_and_network() -> None:
    preprocess = VideoPreprocessor()
    for size in ((320, 180), (180, 320), (320, 180)):
        frame = av.VideoFrame.from_ndarray(scene(*size), format="rgb24").reformat(format="yuv420p")
        for how in (MIDAS, EMBEDDED, replace(MIDAS, input_size=128)):
            np.testing.assert_array_equal(preprocess(frame, how)[0], VideoPreprocessor()(frame, how)[0])
