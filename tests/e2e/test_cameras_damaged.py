"""Thousands of damaged packets: the stream drops what it cannot decode, and nothing else notices."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.conftest import StartDaemon
from tests.e2e.processes import Daemon
from tests.support import proxy as bad
from tests.support.camera import StartCamera, captured, enters, needs_rtsp_server, restarts
from tests.support.proxy import Damage, Proxy, proxies
from tests.support.settings import write_settings
from tests.support.sibling import SIBLING, Sibling, recorded
from tests.support.waiting import until

pytestmark = needs_rtsp_server

DAMAGED = 2000
AGAIN_S = 20.0
"""A line this bad may have cost several tries, each of which waited longer."""


@pytest.fixture
def line(camera: StartCamera) -> Iterator[Proxy]:
    with proxies() as start:
        yield start(camera().port)


@pytest.fixture
def running(daemon: StartDaemon, line: Proxy, tmp_path: Path) -> Daemon:
    settings = write_settings(
        tmp_path / "streamd.toml",
        {
            "porch": {"source": f"rtsp://127.0.0.1:{line.port}/noise", "read_timeout_s": 2, "record": []},
            "sibling": SIBLING,
        },
        recording=recorded(tmp_path),
    )
    return daemon("--config", settings)


@pytest.mark.parametrize(
    ("damages", "count"),
    [
        ((bad.spared, bad.flipped, bad.header_flipped, bad.shortened, bad.lost), DAMAGED),
        ((*[bad.spared] * 20, bad.flipped, bad.torn), DAMAGED // 50),
    ],
    ids=["packets-stay-apart", "packets-run-together"],
)
def test_damaged_packets(running: Daemon, line: Proxy, damages: tuple[Damage, ...], count: int) -> None:
    enters(running, "porch", "running")
    enters(running, "sibling", "running")
    sibling = Sibling(running)

    line.damages = damages
    until(f"{count} packets are damaged", lambda: damaged(line) >= count, within_s=60)
    line.damages = ()

    healed = captured(running, "porch")
    until("pictures come again", lambda: captured(running, "porch") > healed + 20, within_s=AGAIN_S)
    enters(running, "porch", "running")
    print(f"{dict(line.damaged)}, {captured(running, 'porch')} frames, {restarts(running, 'porch'):g} restarts")
    assert running.running
    assert running.get("/healthz").status == 200
    sibling.assert_lost_nothing()


def damaged(line: Proxy) -> int:
    return sum(count for name, count in line.damaged.items() if name != bad.spared.__name__)
