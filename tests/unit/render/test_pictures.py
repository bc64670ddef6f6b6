"""Stills: what is written can be read again."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest

from streamd.config.sections import FORMATS, PictureFormat, View
from streamd.errors import PictureError
from streamd.media.frames import Provenance
from streamd.render.colormap import INFERNO_RGB
from streamd.render.pictures import CONTENT_TYPES, MAX_POINTS, Still, encode_depth, encode_view, normalise

HEIGHT, WIDTH = 48, 64
PROVENANCE = Provenance("midas_small", "70d6b9c8", "inverse_depth", "openvino", "fp32")


@pytest.fixture(scope="module")
def still() -> Still:
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    depth = 300 + 10 * x + 3 * y
    rgb = np.stack([4 * x, 5 * y, 255 - 4 * x], axis=-1).astype(np.uint8)
    output = np.random.default_rng(0).random((32, 64), np.float32)
    return Still(rgb, depth, output, PROVENANCE)


def encode(still: Still, view: View, format: PictureFormat) -> bytes:
    if format in ("jpg", "png"):
        return bytes(encode_view(view, format, normalise(still.inverse_depth), still.rgb))
    return bytes(encode_depth(format, still))


def bgr_of(data: bytes, flags: int = cv2.IMREAD_UNCHANGED) -> np.ndarray:
    return np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), flags))


def test_png_holds_the_view_to_the_last_bit(still: Still) -> None:
    rgb = bgr_of(encode(still, "depth", "png"))[..., ::-1]
    np.testing.assert_array_equal(rgb, INFERNO_RGB[np.rint(255 * normalise(still.inverse_depth)).astype(np.uint8)])
    assert bgr_of(encode(still, "side-by-side", "png")).shape == (HEIGHT, 2 * WIDTH, 3)


def test_jpg_holds_it_nearly(still: Still) -> None:
    data = encode(still, "source", "jpg")
    assert data[:2] == b"\xff\xd8"
    assert np.abs(bgr_of(data)[..., ::-1].astype(int) - still.rgb).mean() < 6


def test_png16_holds_depth_in_16_bits_near_bright(still: Still) -> None:
    pixels = bgr_of(encode(still, "overlay", "png16"))
    assert pixels.dtype == np.uint16
    assert pixels.shape == (HEIGHT, WIDTH)
    assert (pixels.min(), pixels.max()) == (0, 65535)
    low, high = still.inverse_depth.min(), still.inverse_depth.max()
    np.testing.assert_allclose(pixels / 65535 * (high - low) + low, still.inverse_depth, atol=(high - low) / 65535)


def test_npz_holds_everything(still: Still) -> None:
    with np.load(io.BytesIO(encode(still, "depth", "npz")), allow_pickle=False) as npz:
        content = dict(npz)
    assert set(content) == {"inverse_depth", "network_output", "model", "sha256", "polarity", "runtime", "precision"}
    np.testing.assert_array_equal(content["inverse_depth"], still.inverse_depth)
    np.testing.assert_array_equal(content["network_output"], still.network_output)
    assert content["inverse_depth"].dtype == content["network_output"].dtype == np.float32
    texts = {key: str(value) for key, value in content.items() if value.ndim == 0}
    assert texts == {
        "model": "midas_small",
        "sha256": "70d6b9c8",
        "polarity": "inverse_depth",
        "runtime": "openvino",
        "precision": "fp32",
    }


class TestPly:
    @pytest.fixture
    def points(self, still: Still) -> np.ndarray:
        header, _, body = encode(still, "depth", "ply").partition(b"end_header\n")
        assert header.startswith(b"ply\nformat binary_little_endian 1.0\n")
        assert f"element vertex {HEIGHT * WIDTH}\n".encode() in header
        points = np.frombuffer(body, [("xyz", "<f4", 3), ("rgb", "u1", 3)])
        return points.reshape(HEIGHT, WIDTH)

    def test_has_a_point_for_each_pixel_in_its_colour(self, points: np.ndarray, still: Still) -> None:
        np.testing.assert_array_equal(points["rgb"], still.rgb)
        assert np.isfinite(points["xyz"]).all()

    def test_near_is_near(self, points: np.ndarray) -> None:
        """z towards the viewer: the nearest pixel is the right lower one, 1 away, the farthest 10."""
        z = points["xyz"][..., 2]
        assert z[-1, -1] == z.max() == pytest.approx(-1)
        assert z[0, 0] == z.min() == pytest.approx(-10)

    def test_right_is_right_and_up_is_up(self, points: np.ndarray) -> None:
        x, y, z = (points["xyz"][..., axis] / np.abs(points["xyz"][..., 2]) for axis in range(3))
        assert (np.diff(x, axis=1) > 0).all()
        assert (np.diff(y, axis=0) < 0).all()
        assert (z == -1).all()

    @pytest.mark.parametrize("degrees", [30, 60, 120])
    def test_the_field_of_view_is_kept(self, still: Still, degrees: float) -> None:
        wide = Still(still.rgb, still.inverse_depth, still.network_output, PROVENANCE, degrees)
        body = encode(wide, "depth", "ply").partition(b"end_header\n")[2]
        xyz = np.frombuffer(body, [("xyz", "<f4", 3), ("rgb", "u1", 3)])["xyz"].reshape(HEIGHT, WIDTH, 3)
        left, right = xyz[0, 0], xyz[0, -1]
        angle = np.degrees(np.arctan2(right[0], -right[2]) - np.arctan2(left[0], -left[2]))
        assert angle == pytest.approx(degrees, rel=0.03)


@pytest.mark.parametrize("format", FORMATS)
def test_a_flat_picture_has_a_file_in_every_format(format: PictureFormat) -> None:
    depth = np.full((HEIGHT, WIDTH), 7, np.float32)
    still = Still(np.zeros((HEIGHT, WIDTH, 3), np.uint8), depth, depth, PROVENANCE)
    assert np.isfinite(normalise(depth)).all()
    assert encode(still, "depth", format)
    assert format in CONTENT_TYPES


def test_normalised_is_between_0_and_1() -> None:
    normalised = normalise(np.array([[-5, 0, 15]], np.float32))
    np.testing.assert_allclose(normalised, [[0, 0.25, 1]])
    assert normalised.dtype == np.float32


def test_a_point_cloud_has_room_for_4k_and_no_more(monkeypatch: pytest.MonkeyPatch, still: Still) -> None:
    assert MAX_POINTS > 3840 * 2160
    monkeypatch.setattr("streamd.render.pictures.MAX_POINTS", WIDTH * HEIGHT - 1)
    with pytest.raises(PictureError, match="has more pixels than"):
        encode(still, "depth", "ply")
