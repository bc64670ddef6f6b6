"""What robots get of a frame: depth in metres, colour and camera of the network's size."""

from __future__ import annotations

import time

import av
import numpy as np
import pytest

from streamd.config.sections import StreamConfig
from streamd.depth.calibration import Calibration
from streamd.media.frames import DepthFrame, NormalisedFrame, Provenance, Scaler, Stamp
from streamd.robots.sample import Sample, camera_of, sample_of

WIDTH, HEIGHT = 32, 16
CONFIG = StreamConfig(source="demo:", horizontal_fov_degrees=90)
BY_METRES = Calibration(a=0.1, b=0.0, standard_error=0.0, readings=())
"""Inverse depth 10 is a metre away, 0 infinitely far."""


def frame(captured_at: float = 0.0) -> NormalisedFrame:
    """640x360: red on the left, blue on the right; depth grows to the right."""
    rgb = np.zeros((360, 640, 3), np.uint8)
    rgb[:, :320, 0], rgb[:, 320:, 2] = 255, 255
    picture = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format="yuv420p")
    depth = np.tile(np.linspace(0, 10, WIDTH, dtype=np.float32), (HEIGHT, 1))
    made_by = Provenance("embedded", "ab", "inverse_depth", "openvino", "fp32")
    luma = np.zeros((HEIGHT, WIDTH), np.uint8)
    return NormalisedFrame(
        DepthFrame(Stamp(0, 0, captured_at), picture, depth, luma, depth, made_by), depth / np.float32(10)
    )


def sample(calibration: Calibration | None = BY_METRES) -> Sample:
    return sample_of(frame(), CONFIG, calibration, Scaler())


def test_all_is_of_the_networks_size() -> None:
    made = sample()
    assert made.size == (WIDTH, HEIGHT)
    assert made.rgb.shape == (HEIGHT, WIDTH, 3)
    assert made.metres is not None
    assert made.metres.shape == (HEIGHT, WIDTH)
    assert made.metres.dtype == np.float32


def test_metres_where_there_are_some() -> None:
    metres = sample().metres
    assert metres is not None
    assert metres[0, -1] == pytest.approx(1.0)
    assert np.isnan(metres[0, 0]), "the sky"
    assert sample(None).metres is None


def test_colours_are_where_they_were() -> None:
    rgb = sample().rgb
    assert (rgb[8, 4] > (200, 0, 0)).tolist()[0]
    assert rgb[8, 4, 2] < 60 < 200 < rgb[8, 28, 2]


def test_the_stamp_is_when_it_was_captured() -> None:
    made = sample_of(frame(time.monotonic() - 5), CONFIG, None, Scaler())
    assert made.stamp_ns / 1e9 == pytest.approx(time.time() - 5, abs=0.5)


def test_the_camera_is_that_of_the_small_picture() -> None:
    """90 degrees across: the focal length is half the width; heights are squeezed by 16/360, widths by 32/640."""
    camera = camera_of((640, 360), (WIDTH, HEIGHT), CONFIG)
    assert camera.fx == pytest.approx(16)
    assert camera.fy == pytest.approx(320 * 16 / 360)
    assert (camera.cx, camera.cy) == (pytest.approx(15.5), pytest.approx(7.5))


def test_intrinsics_in_pixels_of_the_source_shrink_too() -> None:
    config = StreamConfig(source="demo:", intrinsics=(600.0, 600.0, 319.5, 179.5))
    camera = camera_of((640, 360), (WIDTH, HEIGHT), config)
    assert camera.fx == pytest.approx(30)
    assert camera.cx == pytest.approx(15.5)


def test_a_cloud_in_the_optical_frame() -> None:
    """x right, y down, z forward; nothing where there is no depth."""
    made = sample()
    cloud = made.cloud()
    assert cloud is not None
    assert made.metres is not None
    assert len(cloud) == np.isfinite(made.metres).sum()
    right_below = cloud[-1]
    assert right_below["z"] == pytest.approx(1.0)
    assert right_below["x"] == pytest.approx((31 - 15.5) / 16)
    assert right_below["y"] == pytest.approx((15 - 7.5) / (320 * 16 / 360))
    assert right_below["rgb"] & 0xFF > 200, "blue"
    assert right_below["rgb"] >> 16 < 60, "not red"
    assert sample(None).cloud() is None
