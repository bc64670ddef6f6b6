"""Metres over HTTP: points of a known scene, values, files, restarts, and what ends a calibration."""

from __future__ import annotations

import asyncio
import io
import json
import math
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from streamd.config.sections import StreamConfig
from streamd.depth.estimator import ModelInfo
from streamd.media.frames import FloatImage
from streamd.streams.kept_calibrations import KeptCalibrations
from tests.integration.web_site import Service, Site, served
from tests.support import geometry
from tests.support.clips import picture_of

CALIBRATION = "/api/v1/streams/porch/calibration"
PLANE = [(0.2, 0.5), (0.5, 0.3), (0.8, 0.6), (0.35, 0.8), (0.65, 0.2)]
NO_MODEL = {"in_use": False, "calibrated": False, "points": []}


class Seer(Service):
    """A network that says of each picture what a perfect one would say of ``scene``."""

    scene = "plane"
    noise = 0.0

    def __init__(self) -> None:
        super().__init__()
        self._random = np.random.default_rng(3)

    def submit(self, info: ModelInfo, planes: FloatImage, **_: object) -> Future[FloatImage]:
        height, width = planes.shape[1:]
        depth = geometry.inverse_depth(geometry.SCENES[self.scene](width, height))
        noisy = depth + self._random.normal(0, self.noise, depth.shape).astype(np.float32)
        future: Future[FloatImage] = Future()
        future.set_result(noisy)
        return future


class Model(SimpleNamespace):
    """As much of a service as the keeper asks."""

    def __init__(self, info: ModelInfo, wanted: str = "embedded") -> None:
        super().__init__(watchers=set())
        self.answer(info, wanted)

    def answer(self, info: ModelInfo, wanted: str) -> None:
        self.status = SimpleNamespace(info=info, wanted=wanted, full_input_size=256)
        for watcher in self.watchers:
            watcher()


@pytest.fixture
async def site(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    monkeypatch.setattr("tests.integration.web_site.Service", Seer)
    async with served(streams={"porch": {"horizontal_fov_degrees": geometry.FOV_DEGREES}}) as site:
        await site.film()
        yield site


@asynccontextmanager
async def filming(site: Site) -> AsyncIterator[None]:
    """A picture each few milliseconds, as a camera has them."""

    async def film() -> None:
        while True:
            site.cameras["porch"].film()
            await asyncio.sleep(0.02)

    task = asyncio.create_task(film())
    try:
        yield
    finally:
        task.cancel()


def shape(site: Site) -> tuple[int, int]:
    newest = site.stream().newest
    assert newest is not None
    height, width = newest.frame.inverse_depth.shape
    return width, height


def true_metres(site: Site, x: float, y: float) -> float:
    width, height = shape(site)
    return float(geometry.SCENES[Seer.scene](width, height)[int(y * height), int(x * width)])


def points(site: Site, places: list[tuple[float, float]]) -> list[dict[str, float]]:
    return [{"x": x, "y": y, "metres": true_metres(site, x, y)} for x, y in places]


async def calibrated(site: Site, places: list[tuple[float, float]] = PLANE) -> Any:
    async with filming(site):
        reply = await site.put(CALIBRATION, points=points(site, places))
    assert reply.status == 200, reply.body
    return reply.json


async def test_points_of_a_known_scene_make_metres_of_all_others(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Seer, "noise", 0.5)
    async with filming(site):
        before = (await site.get("/api/v1/streams/porch/value?x=0.4&y=0.4")).json
        assert (before["metres"], before["uncertainty_metres"], before["interval_metres"]) == (None, None, None)
    found = await calibrated(site)
    assert (found["calibrated"], found["in_use"], found["reason"], found["model"]) == (True, True, None, "embedded")
    assert (found["a"], found["b"]) == pytest.approx((geometry.A, geometry.B), rel=0.03)
    assert all(each["fitted"]["metres"] == pytest.approx(each["metres"], rel=0.03) for each in found["points"])
    assert (await site.get(CALIBRATION)).json == found
    for x in (0.1, 0.4, 0.9):
        value = (await site.get(f"/api/v1/streams/porch/value?x={x}&y=0.45")).json
        true = true_metres(site, x, 0.45)
        assert value["metres"] == pytest.approx(true, rel=0.03)
        assert value["interval_metres"][0] <= true <= value["interval_metres"][1]
        assert value["uncertainty_metres"] < 0.3 * true
        assert 0 <= value["share"] <= 1


async def test_depth_that_was_reused_says_nothing_of_the_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a still scene, the network looks now and then only."""
    monkeypatch.setattr("tests.integration.web_site.Service", Seer)
    monkeypatch.setattr(Seer, "noise", 0.5)
    monkeypatch.setattr("tests.support.played.picture_of", lambda number, *size: picture_of(0, *size))
    async with served(streams={"porch": {"refresh_s": 0.1}}) as site:
        await site.film()
        await calibrated(site)
        assert (site.stream().status.inferred_share or 1) < 0.5, "the scene is still"
        made = site.stream().calibrated
        assert made is not None
        scatters = [reading.scatter for reading in made.calibration.readings]
        assert np.mean(scatters) == pytest.approx(0.5, rel=0.5)


async def test_a_stream_that_is_removed_meanwhile_gets_none(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would wait for another camera of that name."""
    told: list[str] = []
    site.fleet.watchers.add(lambda stream, change: told.append(change))
    asked = asyncio.create_task(site.put(CALIBRATION, points=points(site, PLANE)))
    await site.until(lambda: site.stream()._life._wakers)
    await site.fleet.remove("porch")
    assert (await asked).error == (404, "unknown_stream")
    assert "calibration" not in told


async def test_a_value_is_that_of_the_snapshot_there(site: Site) -> None:
    await calibrated(site)
    snapshot = await site.get("/api/v1/streams/porch/snapshot?format=npz")
    with np.load(io.BytesIO(snapshot.body)) as npz:
        depth, metres = npz["inverse_depth"], npz["metres"]
    assert (metres.dtype, metres.shape) == (np.float32, depth.shape)
    height, width = depth.shape
    for row, column in ((5, 7), (60, 100), (height - 1, width - 1)):
        at = f"x={(column + 0.5) / width}&y={(row + 0.5) / height}"
        value = (await site.get(f"/api/v1/streams/porch/value?{at}")).json
        assert value["inverse_depth"] == pytest.approx(float(depth[row, column]), rel=1e-3)
        assert value["metres"] == pytest.approx(float(metres[row, column]), rel=1e-3)


@pytest.mark.parametrize(
    ("scene", "places"),
    [
        ("plane", [(0.1, 0.5), (0.9, 0.5)]),
        ("box", [(0.5, 0.5), (0.1, 0.5)]),
        ("ramp", [(0.5, 0.95), (0.5, 0.7), (0.5, 0.2)]),
    ],
)
async def test_the_cloud_of_a_known_scene_is_right(
    site: Site, monkeypatch: pytest.MonkeyPatch, scene: str, places: list[tuple[float, float]]
) -> None:
    """To 2 %: each point, where the network's own size does not blur an edge."""
    monkeypatch.setattr(Seer, "scene", scene)
    await site.film(count=3)
    await calibrated(site, places)
    data = (await site.get("/api/v1/streams/porch/snapshot?format=ply")).body
    header, _, body = data.partition(b"end_header\n")
    assert b"comment metres" in header
    cloud = np.frombuffer(body, [("xyz", "<f4", 3), ("rgb", "u1", 3)])["xyz"].reshape(112, 192, 3)
    true = geometry.SCENES[scene](192, 112)
    right, down = geometry.rays(192, 112)
    wanted = np.stack([right * true, -down * true, -true], axis=-1)
    error = np.linalg.norm(cloud - wanted, axis=-1) / np.linalg.norm(wanted, axis=-1)
    edges = np.abs(np.gradient(1 / true, axis=0)) + np.abs(np.gradient(1 / true, axis=1)) > 0.01
    blurred = np.asarray(edges, np.uint8)
    reach = 4
    near_edge = np.zeros_like(edges)
    for row, column in np.argwhere(blurred):
        near_edge[max(0, row - reach) : row + reach + 1, max(0, column - reach) : column + reach + 1] = True
    assert (~near_edge).mean() > 0.6
    assert error[~near_edge].max() < 0.02


BAD = [
    ({}, "send points and nothing else"),
    ({"points": []}, "points: 0: from 2 to 64"),
    ({"points": [{"x": 0.5, "y": 0.5, "metres": 1}]}, "points: 1: from 2 to 64"),
    ({"points": [{"x": 0.5, "y": 0.5, "metres": 1}] * 65}, "points: 65"),
    ({"points": [1, 2]}, "points[0]: should have x, y and metres"),
    ({"points": [{"x": 1.5, "y": 0.5, "metres": 1}] * 2}, "points[0].x: 1.5: should be a number from 0 to 1"),
    ({"points": [{"x": 0, "y": -0.1, "metres": 1}] * 2}, "points[0].y: -0.1"),
    ({"points": [{"x": 0, "y": 0, "metres": 0}] * 2}, "points[0].metres: 0: should be a number above 0"),
    ({"points": [{"x": 0, "y": True, "metres": 1}] * 2}, "points[0].y: True"),
    ({"points": [{"x": 0, "y": "a", "metres": 1}] * 2}, "points[0].y: a"),
    ({"points": [{"x": 0, "y": 0, "metres": math.inf}] * 2}, "points[0].metres: inf"),
    ({"points": [{"x": 0, "y": 0, "metres": math.nan}] * 2}, "points[0].metres: nan"),
    ({"points": [{"x": 0, "y": 0, "metres": 10**400}] * 2}, "points[0].metres: 1000"),
    ({"points": [{"x": 0.1, "y": 0.5, "metres": 1}, {"x": 0.9, "y": 0.5, "metres": 1}]}, "same distance"),
    ({"points": [{"x": 0.5, "y": 0.1, "metres": 1}, {"x": 0.5, "y": 0.9, "metres": 2}]}, "same depth"),
    ({"points": [{"x": 0.1, "y": 0.5, "metres": 9}, {"x": 0.9, "y": 0.5, "metres": 1}]}, "check which is nearer"),
]


@pytest.mark.parametrize(("body", "message"), BAD)
async def test_what_makes_no_sense_is_refused_and_changes_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch, body: dict[str, Any], message: str
) -> None:
    monkeypatch.setattr("streamd.streams.readings.WAIT_S", 0.05)
    reply = await site.put(CALIBRATION, **body)
    assert reply.status == 422
    assert message in reply.json["error"]["message"]
    assert (await site.get(CALIBRATION)).json == {**NO_MODEL, "reason": None}


@pytest.mark.parametrize("query", ["", "x=0.5", "x=0.5&y=1.01", "x=-1&y=0", "x=nan&y=0", "x=a&y=0", "x=inf&y=0"])
async def test_a_value_needs_a_point_in_the_picture(site: Site, query: str) -> None:
    assert (await site.get(f"/api/v1/streams/porch/value?{query}")).error == (422, "bad_value")


async def test_without_a_frame_there_is_nothing_to_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamd.streams.readings.FIRST_S", 0.05)
    async with served() as site:
        assert (await site.get("/api/v1/streams/porch/value?x=0&y=0")).error == (503, "not_ready")
        body = [{"x": 0.1, "y": 0.5, "metres": 1}, {"x": 0.9, "y": 0.5, "metres": 2}]
        assert (await site.put(CALIBRATION, points=body)).error == (503, "not_ready")
        assert (await site.get("/api/v1/streams/none/value?x=0&y=0")).error == (404, "unknown_stream")


async def test_it_can_be_taken_back(site: Site) -> None:
    await calibrated(site)
    assert (await site.get("/api/v1/streams/porch")).json["calibration"]["in_use"] is True
    assert (await site.ask("DELETE", CALIBRATION)).json == {**NO_MODEL, "reason": None}
    assert (await site.get("/api/v1/streams/porch/value?x=0&y=0")).json["metres"] is None
    snapshot = await site.get("/api/v1/streams/porch/snapshot?format=npz")
    with np.load(io.BytesIO(snapshot.body)) as npz:
        assert "metres" not in npz


async def event(site: Site, kind: str) -> Any:
    """The next of this kind."""
    async with site.http.get(f"{site.url}/api/v1/events") as response:
        site.joined.set()  # type: ignore[attr-defined]
        async for line in response.content:
            if line.decode() == f"event: {kind}\n":
                return json.loads((await response.content.readline()).decode().removeprefix("data: "))
    raise AssertionError("the events have ended")


def kept_in(file: Path) -> Any:
    """None before it is written for the first time."""
    return json.loads(file.read_text())["streams"] if file.exists() else None


async def test_another_model_ends_it_and_everybody_is_told(site: Site, tmp_path: Path) -> None:
    info = Seer().info
    assert info is not None
    model: Any = Model(info)
    keeper = asyncio.create_task(KeptCalibrations(tmp_path / "c.json", site.fleet, model).run())
    await site.until(lambda: model.watchers)
    await calibrated(site)
    stands_in = replace(info, sha256="cd")
    model.answer(stands_in, wanted="midas_small")
    await asyncio.sleep(0.02)
    assert site.stream().calibrated is not None, "one that stands in for the wanted model ends nothing"
    site.joined = asyncio.Event()  # type: ignore[attr-defined]
    told = asyncio.create_task(event(site, "calibration"))
    await site.joined.wait()  # type: ignore[attr-defined]
    model.answer(stands_in, wanted="embedded")
    reason = "the model has changed: it was made with embedded at 256 px; calibrate again"
    assert {**await told, "time": 0} == {
        "time": 0,
        "name": "porch",
        "calibrated": False,
        "in_use": False,
        "reason": reason,
    }
    assert (await site.get(CALIBRATION)).json == {**NO_MODEL, "reason": reason}
    await site.until(lambda: kept_in(tmp_path / "c.json") == {})
    keeper.cancel()


async def test_it_is_kept_over_a_restart_and_ends_with_its_camera(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "home" / "calibrations.json"
    info: Any = Seer().info
    model: Any = Model(info)
    keeper = asyncio.create_task(KeptCalibrations(file, site.fleet, model).run())
    await site.until(lambda: model.watchers)
    made = await calibrated(site)
    await site.until(file.exists)
    keeper.cancel()
    kept = site.stream().calibrated
    site.stream().calibrated = None
    keeper = asyncio.create_task(KeptCalibrations(file, site.fleet, model).run())
    await site.until(lambda: site.stream().calibrated)
    assert site.stream().calibrated == kept
    assert (await site.get(CALIBRATION)).json == made
    await site.fleet.put("porch", StreamConfig(source="rtsp://other/live"))
    await site.until(lambda: site.stream().calibrated is None)
    assert (await site.get(CALIBRATION)).json["reason"] == "the camera is another; calibrate again"
    await site.until(lambda: kept_in(file) == {})
    keeper.cancel()


async def test_while_another_network_answers_it_is_kept_and_not_used(site: Site) -> None:
    await calibrated(site)
    kept = site.stream().calibrated
    assert kept is not None
    site.stream().calibrated = replace(kept, sha256="cd", model="midas_small")
    found = (await site.get(CALIBRATION)).json
    assert (found["calibrated"], found["in_use"]) == (True, False)
    assert found["reason"] == "it was made with midas_small, and embedded answers for now"
    site.stream().calibrated = replace(kept, size=(1, 1))
    assert "another size" in (await site.get(CALIBRATION)).json["reason"]
    assert (await site.get("/api/v1/streams/porch/value?x=0&y=0")).json["metres"] is None
