"""Zones of a stream over scripted scenes: when they fire, how often, and what resets them. In virtual time."""

from __future__ import annotations

import av
import numpy as np
import pytest

from streamd.depth.calibration import Calibration
from streamd.media.frames import FloatImage
from streamd.streams import zones
from streamd.streams.zone import ZoneState, ZoneWatch
from tests.support.scenes import FPS, Scene, box, ramp, zone

FAR = ramp() * 0.5
FAR[:, -8:] = 1.0  # what is nearest is elsewhere, so that the range has something to reach to
WITH_BOX = box(FAR, 0.95)


INVERSE = Calibration(1.0, 0.0, 0.01, ())
"""1 / metres = p."""


@pytest.mark.parametrize("hold_s", [0.0, 0.5, 1.0, 3.0])
def test_it_fires_within_two_frames_beyond_the_hold_and_once(hold_s: float) -> None:
    scene = Scene([zone(hold_s=hold_s)])
    scene.play_for(5, FAR)
    came = scene.frame
    scene.play_for(6, WITH_BOX)
    went = scene.frame
    scene.play_for(6, FAR)
    assert scene.kinds == ["near", "clear"]
    near, clear = (told.frame for told in scene.told)
    held = round(hold_s * FPS)
    assert came + held <= near <= came + held + 2
    assert went + held <= clear <= went + held + 2
    assert (scene.counted("near"), scene.counted("clear")) == (1, 1)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("given", [{"near": 0.7}, {"metres": 1.5}])
def test_what_comes_slowly_fires_once_when_it_crosses(seed: int, given: dict[str, float]) -> None:
    """A box that comes near over 4 s, stays, and goes, in noise: there is one crossing each way."""
    random = np.random.default_rng(seed)
    measure = {"near": None, **given}
    scene = Scene([zone(hold_s=0.0, **measure)], calibration=INVERSE)
    limit = given.get("near") or 1 / given["metres"]
    path = [
        *np.full(40, 0.3),
        *np.linspace(0.3, 0.95, 80),
        *np.full(60, 0.95),
        *np.linspace(0.95, 0.3, 80),
        *np.full(40, 0.3),
    ]
    for nearness in path:
        scene.play(box(FAR, nearness) + random.normal(0, 0.01, FAR.shape).astype(np.float32))
    assert scene.kinds == ["near", "clear"]
    crossed = next(index for index, nearness in enumerate(path) if nearness > limit)
    assert abs(scene.told[0].frame - crossed) <= 2


def test_each_approach_fires_once() -> None:
    scene = Scene([zone(hold_s=0.2)])
    for _ in range(4):
        scene.play_for(2, FAR)
        scene.play_for(2, WITH_BOX)
    scene.play_for(2, FAR)
    assert scene.kinds == ["near", "clear"] * 4


def test_what_passes_faster_than_the_hold_is_nothing() -> None:
    scene = Scene([zone(hold_s=1.0)])
    for _ in range(5):
        scene.play_for(1, FAR)
        scene.play_for(0.8, WITH_BOX)
    scene.play_for(2, FAR)
    assert scene.told == []


def test_a_moment_without_it_is_no_end() -> None:
    scene = Scene([zone(hold_s=1.0)])
    scene.play_for(2, FAR)
    for _ in range(5):
        scene.play_for(2, WITH_BOX)
        scene.play_for(0.5, FAR)
    assert scene.kinds == ["near"]


def noise_around(scene_depth: FloatImage, random: np.random.Generator) -> FloatImage:
    """Of each pixel, of patches, and of the scale and shift that a network chooses anew for each frame."""
    patches = np.kron(random.normal(0, 0.02, (9, 16)), np.ones((4, 4)))
    pixels = random.normal(0, 0.04, scene_depth.shape)
    return (random.normal(1, 0.03) * (scene_depth + patches + pixels) + random.normal(0, 0.02)).astype(np.float32)


@pytest.mark.parametrize("kind", ["scene", "flat", "uniform", "flashes"])
def test_ten_minutes_of_noise_fire_nothing(kind: str) -> None:
    random = np.random.default_rng(12)
    far, with_box = (np.ascontiguousarray(depth[::2, ::2]) for depth in (FAR, WITH_BOX))
    scene = Scene([zone(name="at once", hold_s=0.0), zone(name="held", hold_s=1.0)], fps=5)
    for index in range(10 * 60 * 5):
        depth: FloatImage
        if kind == "flat":
            depth = np.asarray(random.normal(0.5, 0.1, far.shape), np.float32)
        elif kind == "uniform":
            depth = np.asarray(random.random(far.shape), np.float32)
        else:
            depth = noise_around(with_box if kind == "flashes" and index % 7 == 3 else far, random)
        scene.play(depth)
    assert scene.told == []


def test_as_much_as_min_area_of_the_zone() -> None:
    """The box covers a quarter of the zone's sides: 1/4 of its area."""
    scene = Scene([zone(name="little", min_area=0.2, hold_s=0), zone(name="much", min_area=0.3, hold_s=0)])
    scene.play_for(1, FAR)
    scene.play_for(1, box(FAR, 0.95, share=0.25))
    assert [told.event.zone for told in scene.told] == ["little"]
    areas = [status.measured.area for status in scene.zones.statuses if status.measured]
    assert areas == [pytest.approx(0.25, abs=0.02)] * 2


def test_only_what_is_in_the_zone() -> None:
    corner = [[0, 0], [0.2, 0], [0.2, 0.2], [0, 0.2]]
    scene = Scene([zone(name="corner", polygon=corner, hold_s=0), zone(hold_s=0)])
    scene.play_for(1, FAR)
    scene.play_for(1, WITH_BOX)
    assert [told.event.zone for told in scene.told] == ["door"]


def test_pixels_of_the_source_are_as_good_as_shares() -> None:
    pixels = [[320, 180], [960, 180], [960, 540], [320, 540]]
    scene = Scene([zone(name="shares"), zone(name="pixels", polygon=pixels)])
    scene.play(WITH_BOX)
    shares, in_pixels = (status.measured for status in scene.zones.statuses)
    assert shares == in_pixels


def test_a_zone_outside_of_the_picture_says_so() -> None:
    scene = Scene([zone(polygon=[[2000, 0], [2100, 0], [2100, 100]])])
    scene.play(WITH_BOX)
    (status,) = scene.zones.statuses
    assert (status.state, status.measured, status.problem) == (ZoneState.CLEAR, None, zones.OUTSIDE)


def test_metres_need_a_calibration_and_begin_with_it() -> None:
    scene = Scene([zone(near=None, metres=1.5, hold_s=0)])
    scene.play_for(1, WITH_BOX)
    assert (scene.zones.statuses[0].problem, scene.told) == (zones.NOT_CALIBRATED, [])
    scene.calibration = INVERSE
    scene.play_for(1, WITH_BOX)
    assert scene.kinds == ["near"]
    measured = scene.told[0].event.measured
    assert measured
    assert measured.nearest_metres == pytest.approx(1 / 0.95, abs=0.05)
    scene.calibration = None
    scene.play(WITH_BOX)
    assert scene.kinds == ["near", "clear"]
    assert scene.zones.statuses[0].problem == zones.NOT_CALIBRATED


def test_it_is_told_how_near() -> None:
    scene = Scene([zone(hold_s=0)])
    scene.play_for(3, FAR)
    scene.play_for(1, WITH_BOX)
    event = scene.told[0].event
    assert event.json["area"] == pytest.approx(0.25, abs=0.02)
    assert event.json["nearest_share"] == pytest.approx(0.95, abs=0.05)
    assert (event.json["nearest_metres"], event.json["reason"], event.type) == (None, None, "zone.near")


def test_without_pictures_nothing_is_near() -> None:
    scene = Scene([zone(hold_s=0)])
    scene.play_for(1, WITH_BOX)
    scene.zones.run(False)
    scene.play_for(1, WITH_BOX)
    assert [(told.event.kind, told.event.reason) for told in scene.told] == [("near", None), ("clear", "away")]
    scene.zones.run(True)
    scene.play_for(1, WITH_BOX)
    assert scene.kinds == ["near", "clear", "near"]


def test_another_network_begins_anew() -> None:
    scene = Scene([zone(hold_s=0)])
    scene.play_for(1, WITH_BOX)
    scene.play(FAR, model="midas_small")
    assert [told.event.reason for told in scene.told] == [None, "model"]
    scene.play_for(1, WITH_BOX)
    scene.play(box(ramp((64, 36)), 0.1))
    assert [told.event.reason for told in scene.told] == [None, "model", None, "model"]


def test_another_scene_begins_anew() -> None:
    scene = Scene([zone(hold_s=0)])
    for _ in range(20):
        scene.play(WITH_BOX, luma=WITH_BOX)
    other = np.ascontiguousarray(1 - WITH_BOX)
    scene.play(other, luma=other)
    assert [told.event.reason for told in scene.told] == [None, "scene"]


def test_another_size_of_the_picture_is_another_scene() -> None:
    scene = Scene([zone(hold_s=0)])
    scene.play_for(1, WITH_BOX)
    scene.play(WITH_BOX, picture=av.VideoFrame(640, 480, "yuv420p"))
    assert [told.event.reason for told in scene.told] == [None, "scene"]


def test_other_settings_begin_anew_and_forget_the_series_of_zones_that_are_gone() -> None:
    scene = Scene([zone(hold_s=0)])
    scene.play_for(1, WITH_BOX)
    scene.zones.configure(Scene([zone(name="gate")]).config)
    assert [told.event.reason for told in scene.told] == [None, "settings"]
    with pytest.raises(AssertionError):
        scene.counted("near")
    assert scene.counted("near", "gate") == 0


@pytest.mark.parametrize("range", ["frame", [0.0, 1.0]])
def test_it_fires_in_every_range(range: object) -> None:
    scene = Scene([zone(hold_s=0.5)], settings={"range": range, "compress": "log"})
    scene.play_for(3, FAR)
    scene.play_for(3, WITH_BOX)
    assert scene.kinds == ["near"]


def test_a_bad_frame_says_nothing() -> None:
    scene = Scene([zone(hold_s=0)])
    scene.play_for(1, WITH_BOX)
    for value in (np.nan, np.inf):
        scene.play(np.full_like(FAR, value))
    scene.play_for(1, WITH_BOX)
    assert scene.kinds == ["near"]


def test_a_fault_ends_the_zone_and_not_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene([zone(hold_s=0)])
    scene.play_for(1, WITH_BOX)
    monkeypatch.setattr(ZoneWatch, "look", lambda *_: 1 / 0)
    scene.play_for(1, WITH_BOX)
    assert [told.event.reason for told in scene.told] == [None, "fault"]
    assert scene.zones.statuses[0].problem == zones.BROKEN
