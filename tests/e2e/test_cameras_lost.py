"""Cameras that die, hang, say nothing or trickle: noticed in time, shown as NO SIGNAL, and nobody else suffers."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest

from tests.e2e.conftest import StartDaemon
from tests.e2e.processes import Daemon
from tests.e2e.test_recording import probe, segments
from tests.support.camera import Camera, StartCamera, captured, enters, needs_rtsp_server, restarts, shows_bars
from tests.support.clips import frames_of
from tests.support.lag import Lag, watching
from tests.support.proxy import Proxy
from tests.support.settings import write_settings
from tests.support.sibling import SIBLING, Sibling, recorded
from tests.support.waiting import scaled, until
from tests.support.witness import Join, Seen, Witness

pytestmark = needs_rtsp_server

READ_TIMEOUT_S = 2.0
NOTICED_S = READ_TIMEOUT_S + 1.0
OPEN_TIMEOUT_S = 10.0
BACK_S = 5.0
"""From the camera's return to its picture."""
MAX_LAG_S = 0.05
ROUNDS = 3
"""A box that does something else may be late once; what is late each time is our fault."""


def is_notice(seen: Seen) -> bool:
    return not seen.bars


def is_camera(seen: Seen) -> bool:
    return seen.bars


@pytest.mark.parametrize("away_s", [1.0, 9.0], ids=["soon", "after-the-back-off-has-grown"])
async def test_a_killed_camera_comes_back(
    daemon: StartDaemon, camera: StartCamera, join: Join, tmp_path: Path, away_s: float
) -> None:
    porch = await asyncio.to_thread(camera)
    folder = tmp_path / "recordings"
    settings = write_settings(
        tmp_path / "streamd.toml",
        {"porch": {"source": porch.url("small"), "read_timeout_s": READ_TIMEOUT_S, "record": ["source"]}},
        recording={"directory": str(folder)},
    )
    running = await asyncio.to_thread(daemon, "--config", settings)
    viewer = await join(running, "porch")
    await viewer.waits_for("the camera's picture", is_camera, within_s=20)
    await viewer.sees(20)
    await asyncio.to_thread(until, "a segment is begun", lambda: segments(folder))

    porch.kill()
    killed_at = time.monotonic()
    await viewer.waits_for("NO SIGNAL", is_notice, within_s=NOTICED_S + 1)
    await asyncio.to_thread(away, running, killed_at + away_s)
    assert len(segments(folder)) == 1, "NO SIGNAL was recorded"

    await asyncio.to_thread(porch.start)
    returned_at = time.monotonic()
    back = await viewer.waits_for("the camera's picture again", is_camera, within_s=2 * BACK_S, since=returned_at)
    print(f"back {back.at - returned_at:.2f} s after its return")
    assert back.at - returned_at <= BACK_S
    await viewer.sees(20)
    assert (viewer.state, await viewer.is_known()) == ("connected", True)
    assert viewer.times_go_on()
    assert_notices_came_about_once_a_second(viewer, away_s)

    await asyncio.to_thread(until, "another segment is begun", lambda: len(segments(folder)) == 2)
    await viewer.sees(20)
    await viewer.close()
    assert await asyncio.to_thread(running.stop) == 0
    for segment in segments(folder):
        assert probe(segment).frames > 3
        assert all(map(shows_bars, frames_of(segment))), "something else than the camera was recorded"


def away(running: Daemon, until_s: float) -> None:
    """While the camera is gone."""
    assert enters(running, "porch", "reconnecting", NOTICED_S)["reason"]
    assert running.metrics().value("streamd_stream_state", stream="porch", state="reconnecting") == 1
    assert running.metrics().value("streamd_source_up", stream="porch") == 0
    assert restarts(running, "porch") >= 1
    until("its time has come", lambda: time.monotonic() > until_s)


def assert_notices_came_about_once_a_second(viewer: Witness, away_s: float) -> None:
    first = next(number for number, seen in enumerate(viewer.seen) if seen.bars)
    notices = [seen for seen in viewer.seen[first:] if not seen.bars]
    assert all(b.at - a.at < 2.5 for a, b in pairwise(notices))
    assert 0.5 * away_s <= len(notices) <= 2 * (away_s + BACK_S)


class TestCameraThatHangs:
    """SIGSTOP: its connections live, and nothing comes."""

    @pytest.fixture
    def porch(self, camera: StartCamera) -> Camera:
        return camera()

    @pytest.fixture
    def running(self, daemon: StartDaemon, porch: Camera, tmp_path: Path) -> Daemon:
        settings = write_settings(
            tmp_path / "streamd.toml",
            {
                "porch": {"source": porch.url("small"), "read_timeout_s": READ_TIMEOUT_S, "record": []},
                "sibling": SIBLING,
            },
            recording=recorded(tmp_path),
        )
        return daemon("--config", settings)

    def test_is_noticed_and_nobody_else_suffers(
        self, running: Daemon, porch: Camera, record_property: Callable[[str, object], None]
    ) -> None:
        noticed, lags = [], []
        sibling = Sibling(running)
        for _ in range(ROUNDS):
            enters(running, "porch", "running")
            seen = captured(running, "porch")
            until("it delivers", partial(delivers, running, "porch", seen + 5))
            with watching(running.url, running.pid) as lag:
                noticed.append(hang_until_noticed(running, porch))
            lags.append(lag)

        assert max(noticed) <= NOTICED_S
        assert_loop_was_never_late(lags)
        sibling.assert_lost_nothing()
        assert restarts(running, "porch", reason="stalled") == ROUNDS
        loop_lag_s = running.metrics().value("streamd_event_loop_lag_seconds")
        assert loop_lag_s < MAX_LAG_S + max(lag.box_s + lag.queued_s for lag in lags)
        figures = f"noticed after {noticed}, {lags}, streamd_event_loop_lag_seconds {loop_lag_s}"
        record_property("figures", figures)
        print(figures)


def hang_until_noticed(running: Daemon, porch: Camera) -> float:
    """How long that took."""
    porch.hang()
    hung_at = time.monotonic()
    try:
        described = enters(running, "porch", "reconnecting", 2 * NOTICED_S)
        noticed_s = time.monotonic() - hung_at
        assert "stalled" in described["reason"]
        # While FFmpeg finds out as well, and lets go.
        until("its own time-outs have passed", lambda: time.monotonic() > hung_at + NOTICED_S + 1)
    finally:
        porch.wake()
    return noticed_s


def assert_loop_was_never_late(lags: list[Lag]) -> None:
    """Beyond what the box itself is late, as the same process measured it in the same time."""
    assert min(lag.count for lag in lags) > 50
    assert statistics.median(lag.answer_s - lag.box_s for lag in lags) < MAX_LAG_S, lags


@dataclass(frozen=True)
class BadLine:
    """A camera behind a line that says nothing (``stalled``) or a byte a second (``trickling``)."""

    fault: str
    from_the_start: bool
    noticed_s: float
    reason: str


BAD_LINES = {
    "silent": BadLine("stalled", False, NOTICED_S, "stalled"),
    # That is data for FFmpeg, whose own time-outs never fire; it is no picture.
    "trickle": BadLine("trickling", False, NOTICED_S, "stalled"),
    "never-answers": BadLine("stalled", True, NOTICED_S, "no answer"),
    "answers-in-a-trickle": BadLine("trickling", True, OPEN_TIMEOUT_S + 1, "no answer"),
}


def test_lines_without_meaning(
    daemon: StartDaemon, camera: StartCamera, proxy: Callable[[int], Proxy], tmp_path: Path
) -> None:
    """All side by side: each is noticed in its time; those that heal give pictures again."""
    porch = camera()
    lines = {name: proxy(porch.port) for name in BAD_LINES}
    spoil(lines, from_the_start=True)
    streams = {
        name: {"source": f"rtsp://127.0.0.1:{line.port}/small", "read_timeout_s": READ_TIMEOUT_S}
        for name, line in lines.items()
    }
    running = daemon("--config", write_settings(tmp_path / "streamd.toml", streams))
    for name, bad in BAD_LINES.items():
        if not bad.from_the_start:
            enters(running, name, "running")
    since = {name: line.accepted_at for name, line in lines.items()}
    since |= spoil(lines, from_the_start=False)
    noticed = notice(running, since)
    print(noticed)
    for name, bad in BAD_LINES.items():
        took_s, reason = noticed[name]
        assert took_s <= scaled(bad.noticed_s), name
        assert bad.reason in reason, name
    assert running.get("/readyz?strict=1").status == 503

    for line in lines.values():
        line.stalled = line.trickling = False
    before = {name: captured(running, name) for name in BAD_LINES}
    for name in BAD_LINES:
        until(f"{name}: pictures come", partial(delivers, running, name, before[name] + 5))
        enters(running, name, "running")


def spoil(lines: Mapping[str, Proxy], *, from_the_start: bool) -> dict[str, float]:
    """When the fault of each began."""
    began = {}
    for name, bad in BAD_LINES.items():
        if bad.from_the_start == from_the_start:
            setattr(lines[name], bad.fault, True)
            began[name] = time.monotonic()
    return began


def delivers(running: Daemon, name: str, count: float) -> bool:
    return captured(running, name) > count


def notice(running: Daemon, since: Mapping[str, float]) -> dict[str, tuple[float, str]]:
    """After how long each was reconnecting, and the reason that it gave."""
    noticed: dict[str, tuple[float, str]] = {}

    def all_are() -> bool:
        for stream in running.get("/api/v1/streams").json["streams"]:
            if stream["state"] == "reconnecting" and stream["name"] not in noticed:
                noticed[stream["name"]] = (time.monotonic() - since[stream["name"]], stream["reason"])
        return len(noticed) == len(since)

    until("all are noticed", all_are, within_s=2 * OPEN_TIMEOUT_S)
    return noticed
