from __future__ import annotations

import numpy as np
import pytest

from streamd.media.frames import ByteImage, FloatImage
from streamd.render.pointcloud import FARTHEST, NEAREST, Pinhole, pinhole, ply

CAMERA = pinhole(3, 5, 60)
POINT = np.dtype([("xyz", "<f4", 3), ("rgb", "u1", 3)])


def parsed(data: memoryview) -> tuple[list[str], np.ndarray]:
    """The lines of the header, and the points."""
    header, body = bytes(data).split(b"end_header\n", 1)
    return header.decode("ascii").splitlines(), np.frombuffer(body, POINT)


def scene(width: int = 5, height: int = 3) -> tuple[FloatImage, ByteImage]:
    depth = np.linspace(7, -2, width * height, dtype=np.float32).reshape(height, width)
    colours = np.arange(width * height * 3, dtype=np.uint8).reshape(height, width, 3)
    return depth, colours


def test_a_point_for_each_pixel_in_its_colour() -> None:
    depth, colours = scene()
    header, points = parsed(ply(depth, colours, CAMERA))
    assert header[:2] == ["ply", "format binary_little_endian 1.0"]
    assert "element vertex 15" in header
    assert (points["rgb"] == colours.reshape(-1, 3)).all()


def test_the_nearest_is_near_and_the_farthest_is_finite() -> None:
    _, points = parsed(ply(*scene(), CAMERA))
    distance = -points["xyz"][:, 2]
    assert distance[0] == pytest.approx(NEAREST)
    assert distance[-1] == pytest.approx(FARTHEST)
    assert (np.diff(distance) > 0).all(), "larger is nearer"


def test_x_goes_right_y_goes_up_and_the_view_is_as_wide_as_said() -> None:
    depth, colours = np.ones((101, 201), np.float32), np.zeros((101, 201, 3), np.uint8)
    _, points = parsed(ply(depth, colours, pinhole(101, 201, 90)))
    xyz = points["xyz"].reshape(101, 201, 3)
    assert xyz[50, 100, :2] == pytest.approx([0, 0])
    assert xyz[50, 200, 0] > 0 > xyz[50, 0, 0]
    assert xyz[0, 100, 1] > 0 > xyz[100, 100, 1]
    assert xyz[50, 200, 0] == pytest.approx(-xyz[50, 200, 2], rel=0.01), "45 degrees to each side"


def test_a_flat_picture_is_no_division_by_nothing() -> None:
    _, points = parsed(ply(np.full((2, 2), 3, np.float32), np.zeros((2, 2, 3), np.uint8), pinhole(2, 2, 60)))
    assert np.isfinite(points["xyz"]).all()


def test_a_wall_a_box_and_a_ramp_have_their_shape() -> None:
    """Distances between 1 and 10, seen with 60 degrees."""
    height, width, focal_px = 180, 320, 160 / np.tan(np.radians(30))
    distance = np.full((height, width), FARTHEST)
    distance[60:120, 130:190] = NEAREST
    below = (np.arange(130, height) - (height - 1) / 2)[:, None] / focal_px
    distance[130:] = 1.2 / below  # the floor, 1.2 below the camera
    colours = np.zeros((height, width, 3), np.uint8)
    xyz = parsed(ply((1 / distance).astype(np.float32), colours, pinhole(height, width, 60)))[1]["xyz"].reshape(
        height, width, 3
    )
    assert xyz[:50, :, 2] == pytest.approx(-FARTHEST, rel=0.001)
    box = xyz[60:120, 130:190]
    assert np.ptp(box[..., 0]) == pytest.approx(59 / focal_px * NEAREST, rel=0.001)
    assert np.ptp(box[..., 1]) == pytest.approx(59 / focal_px * NEAREST, rel=0.001)
    assert xyz[130:, :, 1] == pytest.approx(-1.2, rel=0.001)


@pytest.mark.parametrize("intrinsics", [(0.5, 0.8, 0.25, 0.6), (100, 80, 49.5, 59.5)])
def test_intrinsics_are_shares_or_pixels(intrinsics: tuple[float, float, float, float]) -> None:
    assert pinhole(100, 200, 60, intrinsics) == Pinhole(100, 80, 49.5, 59.5)


def test_metres_are_metres_and_the_sky_is_left_out() -> None:
    metres = np.full((3, 5), 2.5, np.float32)
    metres[0] = np.inf
    metres[1, 0] = 2000
    depth, colours = scene()
    header, points = parsed(ply(depth, colours, CAMERA, metres))
    assert "comment metres" in header
    assert "element vertex 9" in header
    assert (points["xyz"][:, 2] == -2.5).all()
    assert (points["rgb"] == colours.reshape(-1, 3)[6:]).all()
    assert points["xyz"][0, 0] == pytest.approx((1 - 2) / CAMERA.fx * 2.5)
