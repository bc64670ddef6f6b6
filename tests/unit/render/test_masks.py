"""Privacy masks: what is covered is gone, all else is untouched, and the decoder never notices."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

import av
import numpy as np
import pytest
from av.video.codeccontext import VideoCodecContext
from av.video.reformatter import ColorRange, Colorspace

from streamd.media.frames import Picture, yuv_planes
from streamd.render.masks import Masks

SQUARE = [(0.25, 0.25), (0.75, 0.25), (0.75, 0.75), (0.25, 0.75)]
MARGIN_PX = 2


def picture_of(width: int, height: int, format: str = "yuv420p", value: int = 200) -> Picture:
    picture = av.VideoFrame(width, height, format)
    for plane in yuv_planes(picture):
        plane[:] = value
    return picture


@pytest.mark.parametrize("format", ["yuv420p", "yuv422p", "yuv444p", "yuvj420p", "yuvj422p", "yuvj444p"])
def test_a_square_is_black_and_the_rest_as_it_was(format: str) -> None:
    y, u, v = yuv_planes(Masks([SQUARE])(picture_of(64, 48, format)))
    black = 0 if format.startswith("yuvj") else 16
    assert (y[12:36, 16:48] == black).all()
    for plane in (u, v):
        down, across = 48 // plane.shape[0], 64 // plane.shape[1]
        assert (plane[12 // down : 36 // down, 16 // across : 48 // across] == 128).all()
        outside = plane.copy()
        outside[(12 - MARGIN_PX) // down : (36 + MARGIN_PX) // down, (16 - MARGIN_PX) // across : 50 // across] = 200
        assert (outside == 200).all()
    outside = y.copy()
    outside[12 - MARGIN_PX : 36 + MARGIN_PX, 16 - MARGIN_PX : 48 + MARGIN_PX] = 200
    assert (outside == 200).all()


def test_black_by_the_range_of_the_picture() -> None:
    picture = picture_of(64, 48)
    picture.color_range = ColorRange.JPEG
    assert yuv_planes(Masks([SQUARE])(picture))[0][24, 32] == 0


def test_pixels_and_shares_may_stand_side_by_side() -> None:
    masks = Masks([[(8, 8), (24, 8), (24, 24), (8, 24)], [(0.5, 0.5), (1, 0.5), (1, 1), (0.5, 1)]])
    y = yuv_planes(masks(picture_of(128, 64)))[0]
    assert (y[8:24, 8:24] == 16).all()
    assert (y[32:, 64:] == 16).all()
    assert (y[32:, :60] == 200).all()


@pytest.mark.parametrize("size", [(64, 48), (63, 47), (65, 33)])
def test_no_pixel_that_is_masked_in_part_shows(size: tuple[int, int]) -> None:
    """Against a cover drawn by brute force, 16 points in every pixel."""
    width, height = size
    polygon = np.array([(0.13, 0.07), (0.93, 0.31), (0.52, 0.45), (0.81, 0.97), (0.11, 0.66)])
    y, u, v = yuv_planes(Masks([polygon.tolist()])(picture_of(width, height)))
    grid_y, grid_x = np.mgrid[0 : 4 * height, 0 : 4 * width] / 4 + 1 / 8
    inside = _inside(polygon * size, grid_x, grid_y)
    partly = inside.reshape(height, 4, width, 4).any(axis=(1, 3))
    assert (y[partly] == 16).all()
    rows, columns = np.nonzero(partly)
    assert (u[rows // 2, columns // 2] == 128).all()
    assert (v[rows // 2, columns // 2] == 128).all()
    assert 0 < (y == 16).sum() - partly.sum() < 2 * MARGIN_PX * 2 * (width + height)


def _inside(polygon: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Even-odd rule."""
    inside = np.zeros(x.shape, bool)
    for (ax, ay), (bx, by) in zip(polygon, np.roll(polygon, 1, axis=0), strict=True):
        inside ^= ((ay > y) != (by > y)) & (x < (bx - ax) * (y - ay) / (by - ay + 1e-12) + ax)
    return inside


def test_what_lies_outside_the_picture_does_no_harm() -> None:
    y = yuv_planes(Masks([[(32, 24), (1e30, 24), (1e30, 1e30), (32, 1e30)]])(picture_of(64, 48)))[0]
    assert (y[24:, 32:] == 16).all()
    assert (y[:20] == 200).all()


def test_all_of_it() -> None:
    planes = yuv_planes(Masks([[(0, 0), (1, 0), (1, 1), (0, 1)]])(picture_of(63, 47)))
    assert [set(np.unique(plane)) for plane in planes] == [{16}, {128}, {128}]


def test_no_masks_cost_nothing() -> None:
    picture = picture_of(64, 48)
    assert Masks(())(picture) is picture
    assert Masks([])(picture) is picture


@pytest.mark.parametrize("format", ["nv12", "yuyv422", "rgb24", "gray", "yuv420p10le"])
def test_other_formats_become_yuv420p(format: str) -> None:
    picture = picture_of(64, 48).reformat(format=format)
    picture.pts, picture.time_base = 77, Fraction(1, 1000)
    masked = Masks([SQUARE])(picture)
    assert (masked.format.name, masked.pts, masked.time_base) == ("yuv420p", 77, Fraction(1, 1000))
    y, u, v = yuv_planes(masked)
    assert (y[12:36, 16:48] == 16).all()
    assert y[0, 0] > 150
    assert (u[6:18, 8:24] == 128).all()
    assert (v[6:18, 8:24] == 128).all()


def test_times_and_colours_are_kept() -> None:
    picture = picture_of(64, 48)
    picture.pts, picture.time_base = 77, Fraction(1, 1000)
    picture.color_range, picture.colorspace = ColorRange.MPEG, Colorspace.ITU709
    masked = Masks([SQUARE])(picture)
    assert (masked.pts, masked.time_base) == (77, Fraction(1, 1000))
    assert (masked.color_range, masked.colorspace) == (ColorRange.MPEG, Colorspace.ITU709)


def test_the_size_may_change_in_mid_stream() -> None:
    masks = Masks([SQUARE])
    for width, height in ((64, 48), (128, 96), (64, 48)):
        y = yuv_planes(masks(picture_of(width, height)))[0]
        assert (y[height // 4 : 3 * height // 4, width // 4 : 3 * width // 4] == 16).all()
        assert y[0, 0] == 200


FRAMES = 30


@pytest.fixture(scope="module")
def packets() -> list[bytes]:
    """A moving picture in H.264, each frame made from the ones before."""
    encoder = VideoCodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = 320, 180, "yuv420p"
    encoder.time_base, encoder.gop_size = Fraction(1, 30), FRAMES
    encoder.options = {"preset": "veryfast", "tune": "zerolatency", "refs": "3"}
    noise = np.random.default_rng(1).integers(0, 255, (180, 640), np.uint8)
    packets: list[bytes] = []
    for n in range(FRAMES):
        frame = picture_of(320, 180, value=100)
        yuv_planes(frame)[0][:] = noise[:, 2 * n : 320 + 2 * n]
        frame.pts = n
        packets += [bytes(packet) for packet in encoder.encode(frame)]
    return packets + [bytes(packet) for packet in encoder.encode(None)]


def decoded(packets: list[bytes]) -> Iterator[Picture]:
    decoder = VideoCodecContext.create("h264", "r")
    for data in packets:
        yield from decoder.decode(av.Packet(data))
    yield from decoder.decode(None)


def test_the_decoder_goes_on_from_what_it_decoded(packets: list[bytes]) -> None:
    masks, plain = Masks([SQUARE]), luma_of(packets)
    seen = 0
    for n, frame in enumerate(decoded(packets)):
        y, u, _ = yuv_planes(masks(frame))
        assert (y[45:135, 80:240] == 16).all()
        assert (u[23:67, 40:120] == 128).all()
        assert same_outside(y, plain[n]), f"frame {n} was made from a masked one"
        seen += 1
    assert seen == FRAMES


def test_without_the_copy_it_would_not(packets: list[bytes]) -> None:
    """That the test above can fail."""
    plain, same = luma_of(packets), []
    for n, frame in enumerate(decoded(packets)):
        y = yuv_planes(frame)[0]
        same.append(same_outside(y, plain[n]))
        y[45:135, 80:240] = 16
    assert same[0]
    assert not all(same)


def luma_of(packets: list[bytes]) -> list[np.ndarray]:
    return [yuv_planes(frame)[0].copy() for frame in decoded(packets)]


def same_outside(y: np.ndarray, plain: np.ndarray) -> bool:
    """Beyond the square and the margin of its cover."""
    return bool((y[:40] == plain[:40]).all() and (y[:, :72] == plain[:, :72]).all())
