"""One picture, with a network that the test plays."""

from __future__ import annotations

import io
import re
import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest

from streamd.config.sections import FORMATS, VIEWS, PictureFormat, View
from streamd.depth.estimator import ModelInfo
from streamd.errors import InferenceFailed, PictureError, WeightsRejected
from streamd.jobs.picture import depth_of_picture
from tests.support.bombs import orientation, photo, saved, with_exif
from tests.support.played import INFO, PlayedService

PICTURE = cv2.imencode(".png", np.arange(64 * 48 * 3, dtype=np.uint8).reshape(48, 64, 3))[1].tobytes()


def depth(service: PlayedService) -> bytes:
    return bytes(depth_of_picture(PICTURE, service, "depth", "png"))  # type: ignore[arg-type]


def test_a_change_of_network_at_this_moment_fails_no_picture() -> None:
    service, other = PlayedService(), replace(INFO, sha256="cd")

    def wait_ready(timeout_s: float | None = None) -> ModelInfo:
        before, service.info = service.info, other
        return before or other

    service.wait_ready = wait_ready  # type: ignore[method-assign]
    assert depth(service)


def test_a_worker_that_is_lost_once_fails_no_picture() -> None:
    service = PlayedService()
    service.lost = [1]
    assert depth(service)


def test_a_picture_that_kills_worker_after_worker_is_given_up() -> None:
    service = PlayedService()
    service.lost = [1] * 10
    with pytest.raises(InferenceFailed):
        depth(service)
    assert len(service.waiting) <= 3


def test_what_keeps_the_network_away_is_reported() -> None:
    service = PlayedService(info=None)
    service.failure = WeightsRejected("a.pt", "cut short")
    with pytest.raises(WeightsRejected):
        depth(service)


def test_damaged_pictures_give_a_result_or_one_line() -> None:
    """In a process of their own: they may end it. ``--count 1000`` takes 5 s."""
    command = [sys.executable, "-m", "tests.support.mutated_stills", "--count", "100", "--seed", "5"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.fullmatch(r"[1-9]\d* read, [1-9]\d* refused, at most \d+ MB\n", done.stdout)


def test_a_line_of_pixels_is_too_small() -> None:
    for shape in ((1, 1), (1, 40), (40, 1)):
        data = cv2.imencode(".png", np.zeros(shape, np.uint8))[1].tobytes()
        with pytest.raises(PictureError, match=r"^is too small: \d+x\d+, and 2x2 is the least$"):
            depth_of_picture(data, PlayedService(), "depth", "png")  # type: ignore[arg-type]


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_is_upright(format: PictureFormat) -> None:
    data = with_exif(saved(photo(64, 48), "JPEG"), orientation(6))
    made = bytes(depth_of_picture(data, PlayedService(), "depth", format))  # type: ignore[arg-type]
    if format == "npz":
        with np.load(io.BytesIO(made)) as npz:
            assert npz["inverse_depth"].shape == (64, 48)
    elif format == "ply":
        assert f"element vertex {64 * 48}\n".encode() in made
    else:
        assert np.asarray(cv2.imdecode(np.frombuffer(made, np.uint8), cv2.IMREAD_UNCHANGED)).shape[:2] == (64, 48)


def test_what_is_hidden_makes_no_difference() -> None:
    """Two files that look the same have the same depth."""
    pictures = []
    for hidden in (0, 255):
        rgba = np.dstack([photo(64, 48), np.zeros((48, 64), np.uint8)])
        rgba[:20, :, 3] = 255
        rgba[20:, :, :3] = hidden
        data = saved(rgba, "PNG", "RGBA")
        pictures.append(bytes(depth_of_picture(data, PlayedService(), "source", "png")))  # type: ignore[arg-type]
    assert pictures[0] == pictures[1]


def test_png16_and_npz_of_one_picture_agree_and_edges_touch_neither() -> None:
    """npz: what the network gave, bit by bit. png16: the npz's range in 65535 steps."""
    service = PlayedService()
    coarse = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    data = saved(cv2.resize(coarse, (320, 240), interpolation=cv2.INTER_NEAREST), "PNG")
    made = {}
    for edges in ("plain", "crisp"):
        for format in ("png16", "npz"):
            made[edges, format] = bytes(depth_of_picture(data, service, "depth", format, edges))  # type: ignore[arg-type]
    assert made["plain", "png16"] == made["crisp", "png16"]
    with np.load(io.BytesIO(made["crisp", "npz"])) as npz, np.load(io.BytesIO(made["plain", "npz"])) as plain:
        depth, output = npz["inverse_depth"].astype(np.float64), npz["network_output"]
        assert np.array_equal(output, service.waiting[-1][1][0])
        assert all(np.array_equal(npz[name], plain[name]) for name in npz)
    codes = cv2.imdecode(np.frombuffer(made["crisp", "png16"], np.uint8), cv2.IMREAD_UNCHANGED)
    assert codes is not None
    span = depth.max() - depth.min()
    assert np.abs(depth.min() + codes / 65535 * span - depth).max() <= span / 65535


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("format", ["jpg", "png"])
def test_edges_are_for_what_shows_depth(view: View, format: PictureFormat) -> None:
    coarse = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    data = saved(cv2.resize(coarse, (320, 240), interpolation=cv2.INTER_NEAREST), "PNG")
    service = PlayedService()
    plain, crisp = (
        bytes(depth_of_picture(data, service, view, format, edges))  # type: ignore[arg-type]
        for edges in ("plain", "crisp")
    )
    assert (plain == crisp) == (view == "source")
