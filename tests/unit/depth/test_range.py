"""Stable colours: what flickers, what moves on, what starts anew."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from streamd.depth.range import DepthRange, FlickerMeter, Mode, percentiles
from streamd.media.frames import FloatImage

FPS = 30
STILL = np.full((64, 96), 120, np.uint8)


def scene(seed: int = 0, scale: float = 500.0) -> FloatImage:
    """Smooth relief."""
    y, x = np.mgrid[0:64, 0:96].astype(np.float32)
    phase = np.random.default_rng(seed).uniform(0, 6, 4)
    relief = np.sin(x / 15 + phase[0]) * np.cos(y / 11 + phase[1]) + 0.5 * np.sin((x + y) / 9 + phase[2])
    return (scale * (relief - relief.min() + 0.1)).astype(np.float32)


def noisy(frames: int = 150) -> Iterator[FloatImage]:
    """A static scene as networks see it: 2 % noise of scale per frame, and a few wild pixels."""
    random, static = np.random.default_rng(5), scene()
    for _ in range(frames):
        frame = static * np.float32(1 + 0.02 * random.standard_normal())
        wild = random.integers(0, frame.size, 12)
        frame.flat[wild] *= random.uniform(0.5, 1.6, 12).astype(np.float32)
        yield frame


def flicker(mode: Mode, frames: Iterator[FloatImage]) -> float:
    shown, meter = DepthRange(mode), FlickerMeter()
    for number, frame in enumerate(frames):
        meter.update(shown.normalise(frame, number / FPS), STILL)
    return meter.ratio


def test_smooth_flickers_at_least_three_times_less_than_frame_by_frame() -> None:
    smooth, frame = flicker("smooth", noisy()), flicker("frame", noisy())
    assert frame > 0.02, "the noise is there"
    assert smooth < frame / 3


def test_smooth_lets_no_more_through_than_the_network_wavers() -> None:
    random = np.random.default_rng(6)
    frames = (scene() * np.float32(1 + 0.02 * random.standard_normal()) for _ in range(150))
    assert flicker("smooth", frames) < 0.015


def test_pictures_that_change_nothing_count() -> None:
    """Else a picture that is held for long would flicker as much as one that changes as often as it comes."""
    held, drawn = FlickerMeter(), FlickerMeter()
    for number in range(200):
        shown = np.full((64, 96), 0.5 + 0.1 * (number % 40 == 0), np.float32)
        drawn.update(shown, STILL)
        if number % 40 < 2:
            held.update(shown, STILL)
        else:
            held.hold()
        assert held.ratio == pytest.approx(drawn.ratio)


def test_a_static_scene_does_not_flicker_at_all() -> None:
    assert flicker("smooth", (scene() for _ in range(20))) == 0


@pytest.mark.parametrize("scale", [0.01, 1, 5000])
def test_a_new_scene_has_its_own_range_at_once(scale: float) -> None:
    shown = DepthRange()
    for number in range(30):
        shown.normalise(scene(0), number / FPS)
    after = scene(1, scale)
    np.testing.assert_array_equal(shown.normalise(after, 1.0), DepthRange().normalise(after, 0.0))


def smaller(depth: FloatImage) -> FloatImage:
    return np.ascontiguousarray(depth[::2, ::2])


@pytest.mark.parametrize("model", ["embedded", "midas_small"])
@pytest.mark.parametrize("scale", [0.01, 1, 5000])
def test_another_model_or_size_shows_the_scene_in_the_same_colours(model: str, scale: float) -> None:
    """Also where the range was wider than the scene just then: something near has left a moment ago."""
    shown, wide = DepthRange(), scene()
    wide[:8] *= 2
    for number in range(30):
        shown.normalise(wide, number / FPS, "embedded")
    before = shown.normalise(scene(), 1.0, "embedded")
    assert before.max() < 0.8
    after = shown.normalise(smaller(scene(0, 500 * scale) + 70 * scale), 1.03, model)
    np.testing.assert_allclose(after, smaller(before), atol=0.02)
    for number in range(300):
        after = shown.normalise(smaller(scene(0, 500 * scale)), 1.1 + number / FPS, model)
    assert after.max() > 0.95, "and then settles as ever"


def test_another_model_that_sees_another_scene_starts_anew() -> None:
    shown = DepthRange()
    shown.normalise(scene(), 0.0, "embedded")
    after = -scene()[:32]
    np.testing.assert_array_equal(shown.normalise(after, 0.01, "midas_small"), DepthRange().normalise(after, 0.0))


def test_a_scene_that_was_flat_says_nothing_of_the_next_models_range() -> None:
    shown, nearly_flat = DepthRange(), scene(0, 0.01)
    shown.normalise(scene(), 0.0, "embedded")
    shown.normalise(nearly_flat, 0.01, "embedded")
    after = scene(0, 3.0)
    np.testing.assert_array_equal(
        shown.normalise(after, 0.02, "midas_small"), DepthRange().normalise(after, 0.0, "midas_small")
    )


def settle(shown: DepthRange, depth: FloatImage, seconds: float, start: float = 0.0) -> FloatImage:
    normalised = depth
    for number in range(int(seconds * FPS) + 1):
        normalised = shown.normalise(depth, start + number / FPS)
    return normalised


def test_the_range_opens_fast_and_closes_slowly() -> None:
    far, near = scene(), 3 * scene()
    opening, closing = DepthRange(), DepthRange()
    settle(opening, far, 1.0)
    settle(closing, near, 1.0)
    wide, narrow = settle(opening, near, 0.5, start=1.0), settle(closing, far, 0.5, start=1.0)
    assert (wide == 1).mean() < 0.1, "little is clipped half a second after something came near"
    assert narrow.max() < 0.5, "and the range is held for a while after it went"
    assert settle(closing, far, 12.0, start=1.5).max() > 0.9


def test_a_pause_counts_as_time() -> None:
    shown = DepthRange()
    shown.normalise(3 * scene(), 0.0)
    np.testing.assert_allclose(shown.normalise(scene(), 60.0), DepthRange().normalise(scene(), 0.0), atol=1e-4)


def test_time_that_goes_back_harms_nothing() -> None:
    shown = DepthRange()
    before = shown.normalise(scene(), 10.0)
    np.testing.assert_array_equal(shown.normalise(scene(), 3.0), before)


@pytest.mark.parametrize("bounds", [(100.0, 400.0), (400.0, 100.0)])
def test_a_fixed_range_never_moves(bounds: tuple[float, float]) -> None:
    shown = DepthRange(bounds)
    for depth in (scene(), 50 * scene(1)):
        np.testing.assert_allclose(shown.normalise(depth, 0.0), np.clip((depth - 100) / 300, 0, 1), atol=1e-5)


def test_frame_by_frame_takes_each_ones_extremes() -> None:
    shown = DepthRange("frame")
    for depth in (scene(), 7 * scene(1) - 3):
        normalised = shown.normalise(depth, 0.0)
        np.testing.assert_allclose(normalised, (depth - depth.min()) / (depth.max() - depth.min()), atol=1e-5)


def test_log_gives_more_colours_to_what_is_far() -> None:
    linear = DepthRange((0.0, 1.0)).normalise(np.linspace(0, 1, 11, dtype=np.float32)[None], 0.0)[0]
    log = DepthRange((0.0, 1.0), "log").normalise(np.linspace(0, 1, 11, dtype=np.float32)[None], 0.0)[0]
    assert (log[0], log[-1]) == (0, pytest.approx(1))
    assert (np.diff(log) > 0).all()
    assert (log[1:-1] > linear[1:-1]).all()
    assert log.dtype == np.float32


@pytest.mark.parametrize("mode", ["smooth", "frame", (2.0, 5.0)])
@pytest.mark.parametrize("compress", ["linear", "log"])
@pytest.mark.parametrize("level", [0.0, 3.0, -1e4, 1e9])
def test_a_flat_picture_has_a_finite_colour(mode: Mode, compress: str, level: float) -> None:
    shown = DepthRange(mode, compress)  # type: ignore[arg-type]
    for number in range(3):
        normalised = shown.normalise(np.full((32, 64), level, np.float32), number / FPS)
        assert np.isfinite(normalised).all()


@given(
    arrays.arrays(np.float32, (8, 12), elements=st.floats(-1e6, 1e6, width=32)),
    st.sampled_from(["smooth", "frame"]),
    st.sampled_from(["linear", "log"]),
)
def test_every_share_is_between_0_and_1(depth: FloatImage, mode: Mode, compress: str) -> None:
    shown = DepthRange(mode, compress)  # type: ignore[arg-type]
    for number in range(2):
        normalised = shown.normalise(depth, number / FPS)
        assert normalised.dtype == np.float32
        assert ((normalised >= 0) & (normalised <= 1 + 1e-6)).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_broken_frame_does_not_spoil_those_after_it(bad: float) -> None:
    shown, untouched = DepthRange(), DepthRange()
    for one in (shown, untouched):
        one.normalise(scene(), 0.0)
    shown.normalise(np.full_like(scene(), bad), 0.03)
    np.testing.assert_allclose(shown.normalise(scene(), 0.06), untouched.normalise(scene(), 0.06))


def test_the_input_is_not_written_to() -> None:
    depth = scene()
    depth.flags.writeable = False
    DepthRange().normalise(depth, 0.0)


def test_a_few_wild_pixels_do_not_count() -> None:
    depth = np.arange(1000, dtype=np.float32).reshape(20, 50)
    depth.flat[-5:] = 1e9
    low, high = percentiles(depth)
    assert (low, high) == (9, 989)


class TestFlickerMeter:
    def test_measures_the_change_where_the_picture_stood_still(self) -> None:
        meter = FlickerMeter(smoothing=1.0)
        normalised, luma = np.zeros((4, 4), np.float32), np.full((4, 4), 9, np.uint8)
        assert meter.update(normalised, luma) == 0
        normalised, luma = normalised.copy(), luma.copy()
        normalised[0], normalised[1] = 0.5, 1.0
        luma[0] = 200
        assert meter.update(normalised, luma) == pytest.approx(4 / 12)

    @pytest.mark.parametrize(
        ("before", "after", "counts"), [(0, 255, False), (255, 0, False), (7, 8, True), (8, 7, True)]
    )
    def test_luma_does_not_wrap(self, before: int, after: int, counts: bool) -> None:
        meter = FlickerMeter(smoothing=1.0)
        meter.update(np.zeros((2, 2), np.float32), np.full((2, 2), before, np.uint8))
        ratio = meter.update(np.ones((2, 2), np.float32), np.full((2, 2), after, np.uint8))
        assert ratio == (1.0 if counts else 0.0)

    def test_goes_on_when_the_size_changes(self) -> None:
        meter = FlickerMeter(smoothing=1.0)
        meter.update(np.zeros((2, 2), np.float32), np.zeros((2, 2), np.uint8))
        assert meter.update(np.ones((3, 3), np.float32), np.zeros((3, 3), np.uint8)) == 0

    def test_is_smoothed(self) -> None:
        meter = FlickerMeter(smoothing=0.1)
        ratios = [meter.update(np.full((2, 2), n % 2, np.float32), np.zeros((2, 2), np.uint8)) for n in range(100)]
        assert ratios == sorted(ratios)
        assert ratios[1] == pytest.approx(0.1)
        assert ratios[-1] == pytest.approx(1, abs=0.01)


def test_it_tells_whether_the_same_depth_will_be_shown_alike() -> None:
    shown, depth = DepthRange(), scene()
    shown.normalise(depth, 0.0)
    assert shown.is_settled
    shown.normalise(depth * np.float32(1.5), 0.1)
    assert not shown.is_settled, "it opens"
    for number in range(2, 20):
        shown.normalise(depth * np.float32(1.5), number / 10)
    assert shown.is_settled
    shown.normalise(depth, 2.0)
    assert not shown.is_settled, "it closes, and takes its time"


def test_a_range_that_is_given_is_settled() -> None:
    shown = DepthRange((0.0, 10.0))
    shown.normalise(scene(), 0.0)
    shown.normalise(scene() * np.float32(3), 0.1)
    assert shown.is_settled
