"""Each view: its size, and what is where in it."""

from __future__ import annotations

import av
import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.config.sections import VIEWS, Edges, View
from streamd.media.frames import ByteImage, FloatImage, Picture, yuv_planes
from streamd.media.hub import DEPTH_VIEWS
from streamd.render.colormap import GRAY_Y, INFERNO_RGB, INFERNO_U, INFERNO_V, INFERNO_Y
from streamd.render.views import Renderer, draw_still, half_size, half_will_do, published_size

WIDTH, HEIGHT = 160, 96
INFERNO = np.stack([INFERNO_Y, INFERNO_U, INFERNO_V], axis=1).astype(int)


def ramp(width: int = 64, height: int = 32) -> FloatImage:
    """Far on the left, near on the right."""
    return np.tile(np.linspace(0, 1, width, dtype=np.float32), (height, 1))


def photo(width: int = WIDTH, height: int = HEIGHT) -> Picture:
    """Dark above, bright below; a tint."""
    picture = av.VideoFrame(width, height, "yuv420p")
    picture.colorspace, picture.color_range = 6, 1
    y, u, v = yuv_planes(picture)
    y[: height // 2], y[height // 2 :], u[:], v[:] = 40, 200, 110, 140
    return picture


def drawn(
    view: str, normalised: FloatImage | None = None, picture: Picture | None = None, overlay_alpha: float = 0.5
) -> list[ByteImage]:
    renderer = Renderer(overlay_alpha)
    renderer.begin(ramp() if normalised is None else normalised, picture or photo(), None)
    return [plane.copy() for plane in yuv_planes(renderer.draw(view))]  # type: ignore[arg-type]


def is_photo(planes: list[ByteImage]) -> bool:
    return all((plane == own).all() for plane, own in zip(planes, yuv_planes(photo()), strict=True))


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize(("size", "shown"), [((160, 96), (160, 96)), ((161, 97), (160, 96)), ((64, 301), (64, 300))])
def test_every_view_is_420_of_even_size(view: str, size: tuple[int, int], shown: tuple[int, int]) -> None:
    renderer = Renderer()
    renderer.begin(ramp(), photo(*size), None)
    picture = renderer.draw(view)  # type: ignore[arg-type]
    wide = 2 if view in ("side-by-side", "rgbd") else 1
    assert picture.format.name == "yuv420p"
    assert (picture.width, picture.height) == (wide * shown[0], shown[1])


@pytest.mark.parametrize(
    ("size", "depth", "will_do"),
    [
        ((1280, 720), (128, 256), True),
        ((720, 1280), (256, 128), True),
        ((1920, 1080), (294, 518), True),
        ((1280, 720), (294, 518), True),
        ((640, 360), (128, 256), True),
        ((512, 256), (128, 256), True),
        ((480, 270), (128, 256), False),
        ((320, 180), (128, 256), False),
        ((1280, 720), (384, 672), False),
        ((1280, 720), (448, 448), False),
        ((2, 2), (32, 32), False),
    ],
)
def test_half_the_size_will_do_where_it_is_no_smaller_than_the_depth_map(
    size: tuple[int, int], depth: tuple[int, int], will_do: bool
) -> None:
    assert half_will_do(size, np.zeros(depth, np.float32)) is will_do


@pytest.mark.parametrize("view", DEPTH_VIEWS)
@pytest.mark.parametrize("edges", ["crisp", "plain"])
@pytest.mark.parametrize(("size", "db"), [((256, 144), 51), ((640, 360), 53)])
def test_half_the_size_is_the_full_picture_once_it_is_enlarged(
    size: tuple[int, int], db: float, edges: Edges, view: View
) -> None:
    """Of a map as a network gives it: an edge is some pixels wide."""
    steps = cv2.GaussianBlur(np.kron(np.eye(4, 8, dtype=np.float32), np.ones((16, 16), np.float32)), None, 2)
    renderer = Renderer(edges=edges)
    renderer.begin(steps, photo(*size), None)
    half, full = renderer.draw(view, half=True), renderer.draw(view)
    assert ((half.width, half.height), (full.width, full.height)) == (half_size(*size), size)
    enlarged = cv2.resize(yuv_planes(half)[0], size, interpolation=cv2.INTER_LINEAR).astype(float)
    assert 10 * np.log10(255**2 / np.mean((enlarged - yuv_planes(full)[0]) ** 2)) > db


def test_half_the_size_of_a_view_is_drawn_from_the_full_one() -> None:
    renderer = Renderer()
    renderer.begin(ramp(), photo(), None)
    for view in VIEWS:
        full = [plane.mean() for plane in yuv_planes(renderer.draw(view))]
        half = [plane.mean() for plane in yuv_planes(renderer.draw(view, half=True))]
        assert half == pytest.approx(full, abs=0.7), view


def test_depth_is_inferno_with_near_bright() -> None:
    y, u, v = drawn("depth")
    assert y[5, 0] == INFERNO_Y[0]
    assert y[5, -1] == INFERNO_Y[255]
    colours = np.stack([y[::2, ::2], u, v], axis=-1).reshape(-1, 3).astype(int)
    nearest = np.abs(colours[:, None] - INFERNO[None]).max(axis=2).min(axis=1)
    assert nearest.max() <= 6, "luma and chroma of one place are of one colour, but for interpolation"


def test_depth_is_smooth_where_it_is_enlarged() -> None:
    y = drawn("depth")[0].astype(int)
    assert np.abs(np.diff(y[10])).max() <= 6


@pytest.mark.parametrize("normalised", [0.0, 0.5, 1.0])
def test_one_depth_has_one_colour(normalised: float) -> None:
    planes = drawn("depth", np.full((32, 64), normalised, np.float32))
    assert [set(plane.flat) for plane in planes] == [{int(code)} for code in INFERNO[round(255 * normalised)]]


def test_gray_is_the_depth_as_luma() -> None:
    y, u, v = drawn("gray")
    assert (y[3, 0], y[3, -1]) == (GRAY_Y[0], GRAY_Y[255])
    assert (u == 128).all()
    assert (v == 128).all()


def test_source_is_the_picture() -> None:
    assert is_photo(drawn("source"))


@pytest.mark.parametrize(("view", "depth"), [("side-by-side", "depth"), ("rgbd", "gray")])
def test_wide_views_have_the_picture_left_and_depth_right(view: str, depth: str) -> None:
    planes = drawn(view)
    assert is_photo([plane[:, : plane.shape[1] // 2] for plane in planes])
    for plane, alone in zip(planes, drawn(depth), strict=True):
        np.testing.assert_array_equal(plane[:, plane.shape[1] // 2 :], alone)


@pytest.mark.parametrize("alpha", [0.0, 0.25, 1.0])
def test_overlay_blends(alpha: float) -> None:
    planes = drawn("overlay", overlay_alpha=alpha)
    for found, depth, own in zip(planes, drawn("depth"), yuv_planes(photo()), strict=True):
        expected = alpha * depth.astype(float) + (1 - alpha) * own
        np.testing.assert_allclose(found, expected, atol=1)


def test_drawing_leaves_the_source_alone() -> None:
    """The decoder still refers to it."""
    picture = photo()
    for view in VIEWS:
        drawn(view, picture=picture)
    assert is_photo([plane.copy() for plane in yuv_planes(picture)])


def test_any_pixel_format_comes_in() -> None:
    for form in ("rgb24", "nv12", "yuvj422p", "gray", "yuv420p10le"):
        y = drawn("source", picture=photo().reformat(format=form))[0].astype(int)
        assert abs(y[10, 10] - 40) <= 3
        assert abs(y[-10, 10] - 200) <= 3


def test_a_renderer_follows_a_change_of_size() -> None:
    renderer = Renderer()
    for width, height in ((160, 96), (64, 64), (160, 96)):
        renderer.begin(ramp(), photo(width, height), None)
        assert {(renderer.draw(view).height) for view in VIEWS} == {height}


def test_the_published_height_has_a_limit() -> None:
    renderer = Renderer()
    renderer.begin(ramp(), photo(320, 240), 120)
    assert (renderer.draw("source").width, renderer.draw("source").height) == (160, 120)


@given(st.integers(1, 8000), st.integers(1, 8000), st.one_of(st.none(), st.integers(32, 2160).map(lambda n: 2 * n)))
def test_published_sizes(width: int, height: int, most: int | None) -> None:
    w, h = published_size(width, height, most)
    assert w % 2 == h % 2 == 0
    assert w >= 2
    assert h >= 2
    assert w <= max(2, width)
    assert h <= max(2, min(height, most or height))
    if most is not None and height > most and w > 50:
        assert w / h == pytest.approx(width / height, rel=0.05)


class TestDrawStill:
    rgb = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    normalised = ramp(60, 40)

    def view(self, name: str) -> ByteImage:
        return draw_still(name, self.normalised, self.rgb)[..., ::-1]  # type: ignore[arg-type]

    @pytest.mark.parametrize("name", VIEWS)
    def test_size(self, name: str) -> None:
        assert self.view(name).shape == (40, 120 if name in ("side-by-side", "rgbd") else 60, 3)
        assert self.view(name).dtype == np.uint8

    def test_content(self) -> None:
        codes = np.rint(255 * self.normalised).astype(np.uint8)
        np.testing.assert_array_equal(self.view("depth"), INFERNO_RGB[codes])
        np.testing.assert_array_equal(self.view("gray"), np.repeat(codes[..., None], 3, axis=2))
        np.testing.assert_array_equal(self.view("source"), self.rgb)
        np.testing.assert_array_equal(self.view("side-by-side"), np.hstack([self.rgb, self.view("depth")]))
        np.testing.assert_array_equal(self.view("rgbd"), np.hstack([self.rgb, self.view("gray")]))

    @pytest.mark.parametrize("alpha", [0.0, 0.25, 1.0])
    def test_overlay_blends(self, alpha: float) -> None:
        found = draw_still("overlay", self.normalised, self.rgb, alpha)[..., ::-1]
        expected = alpha * self.view("depth") + (1 - alpha) * self.rgb.astype(float)
        np.testing.assert_allclose(found, expected, atol=1)


@pytest.mark.parametrize("view", VIEWS)
def test_edges_are_drawn_in_every_view_of_depth(view: View) -> None:
    step = np.full((32, 64), 0.2, np.float32)
    step[:, 29:34], step[:, 34:] = (0.3, 0.4, 0.5, 0.6, 0.7), 0.8
    crisp = Renderer(edges="crisp")
    crisp.begin(step, photo(), None)
    planes = [plane.copy() for plane in yuv_planes(crisp.draw(view))]
    assert all(map(np.array_equal, planes, drawn(view, step))) == (view == "source")
