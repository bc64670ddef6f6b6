"""One picture in, its depth out: against the reference, worked out here once more."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest

from streamd.depth.preprocess import still_input
from streamd.depth.service import DepthService
from streamd.errors import PictureError
from streamd.jobs.picture import depth_of_picture
from streamd.media.frames import ByteImage
from tests.integration.conftest import Installed


@pytest.fixture(scope="module")
def photo() -> ByteImage:
    coarse = np.random.default_rng(0).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (640, 480), interpolation=cv2.INTER_CUBIC))


def file_of(rgb: ByteImage) -> bytes:
    return cv2.imencode(".png", rgb[..., ::-1])[1].tobytes()


def test_the_arrays_are_the_references(shared_service: DepthService, embedded: Installed, photo: ByteImage) -> None:
    with np.load(io.BytesIO(depth_of_picture(file_of(photo), shared_service, "depth", "npz"))) as npz:
        output, depth = npz["network_output"], npz["inverse_depth"]
        assert (str(npz["model"]), str(npz["runtime"]), str(npz["precision"])) == ("embedded", "openvino", "fp32")
        assert str(npz["sha256"]) == embedded.sha256
    compiled = embedded.compiled()
    planes = still_input(photo, shared_service.wait_ready().spec.preprocessing)
    expected = compiled(planes)
    assert output.shape == expected.shape == (192, 256)
    np.testing.assert_allclose(output, expected, atol=1e-4 * np.abs(expected).max())
    assert depth.shape == (480, 640)
    np.testing.assert_array_equal(depth, cv2.resize(output, (640, 480), interpolation=cv2.INTER_CUBIC))


def test_png16_spans_its_whole_range_and_agrees_with_npz(shared_service: DepthService, photo: ByteImage) -> None:
    pixels = cv2.imdecode(
        np.frombuffer(depth_of_picture(file_of(photo), shared_service, "depth", "png16"), np.uint8),
        cv2.IMREAD_UNCHANGED,
    )
    assert pixels is not None
    assert (pixels.shape, pixels.dtype, pixels.min(), pixels.max()) == ((480, 640), np.uint16, 0, 65535)
    with np.load(io.BytesIO(depth_of_picture(file_of(photo), shared_service, "depth", "npz"))) as npz:
        depth = npz["inverse_depth"].astype(np.float64)
    span = np.ptp(depth)
    np.testing.assert_allclose(depth.min() + pixels / 65535 * span, depth, rtol=0, atol=span / 65535)


@pytest.mark.parametrize("size", [(2, 2), (3, 500), (500, 3), (1, 40)])
def test_tiny_pictures(shared_service: DepthService, size: tuple[int, int]) -> None:
    data = file_of(np.zeros((size[1], size[0], 3), np.uint8))
    if min(size) < 2:
        with pytest.raises(PictureError, match="is too small: 1x40"):
            depth_of_picture(data, shared_service, "depth", "png")
    else:
        assert depth_of_picture(data, shared_service, "depth", "png")


def test_what_is_no_picture(shared_service: DepthService) -> None:
    with pytest.raises(PictureError):
        depth_of_picture(b"hello", shared_service, "depth", "png")
