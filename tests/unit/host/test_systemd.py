"""streamd.host.systemd, against a socket that stands in for systemd's."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from uuid import uuid4

import pytest

from streamd.host import systemd
from streamd.host.systemd import DaemonStatus, Notifier, SystemdLink, watchdog_s
from streamd.states import ModelState, StreamState
from tests.support.waiting import timeout


@dataclass(frozen=True)
class Status:
    name: str
    state: StreamState
    reason: str | None = None
    fps_out: float = 0.0
    publishes: bool = False


DOOR = Status("door", StreamState.RUNNING, fps_out=20.4, publishes=True)
YARD = Status("yard", StreamState.STARTING)
AWAY = replace(YARD, state=StreamState.RECONNECTING, reason="connection refused")


def status_of(*streams: Status, model_state: ModelState = ModelState.READY, stuck: bool = False) -> DaemonStatus:
    return DaemonStatus(streams, stuck, model_state, "midas_small bf16")


@dataclass
class Manager:
    """What systemd would be."""

    address: str
    channel: socket.socket
    lines: list[str] = field(default_factory=list)

    def read(self) -> list[str]:
        """All lines that have come."""
        with suppress(BlockingIOError):
            while True:
                self.lines += self.channel.recv(4096).decode().split("\n")
        return self.lines

    async def gets(self, line: str) -> None:
        await _until(lambda: line in self.read())

    def count(self, variable: str) -> int:
        return sum(line.startswith(f"{variable}=") for line in self.read())


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    address = str(tmp_path / "notify") if request.param == "path" else f"@streamd-test-{uuid4()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.bind(address.replace("@", "\0", 1))
        channel.setblocking(False)
        yield Manager(address, channel)


class Scene:
    """A link whose daemon shows what the test sets."""

    def __init__(self, manager: Manager, status: DaemonStatus, watchdog_us: str = "20000") -> None:
        self.status = status
        self.link = SystemdLink(lambda: self.status, {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": watchdog_us})

    async def __aenter__(self) -> Scene:
        self._task = asyncio.create_task(self.link.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("_TICK_S", 0.005), ("START_S", 0.2), ("EXTEND_S", 0.06)):
        monkeypatch.setattr(systemd, name, value)


# -- the socket -------------------------------------------------------------------------------


def test_sends_lines_in_one_datagram(manager: Manager) -> None:
    assert Notifier({"NOTIFY_SOCKET": manager.address}).notify(READY=1, STATUS="all\nis  well")
    assert manager.read() == ["READY=1", "STATUS=all is well"]


@pytest.mark.parametrize("address", ["", "vsock:2:1", "relative"])
def test_without_a_socket_nothing_is_sent(address: str) -> None:
    notifier = Notifier({"NOTIFY_SOCKET": address})
    assert not notifier
    assert not notifier.notify(READY=1)
    assert not Notifier({})


def test_a_socket_that_is_gone_is_no_fault(tmp_path: Path) -> None:
    assert not Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).notify(READY=1)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "15000000"}, 15.0),
        ({"WATCHDOG_USEC": "15000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"WATCHDOG_USEC": "15000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "15000000", "WATCHDOG_PID": "one"}, None),
    ],
)
def test_watchdog_of_this_process_only(environment: dict[str, str], expected: float | None) -> None:
    assert watchdog_s(environment) == expected


# -- the summary -------------------------------------------------------------------------


def test_status_has_states_fps_and_model() -> None:
    assert status_of(DOOR, replace(DOOR, name="gate"), AWAY).summary() == (
        "3 streams: 2 running, 1 reconnecting; 41 fps; model midas_small bf16; yard: connection refused"
    )
    assert status_of().summary() == "0 streams; 0 fps; model midas_small bf16"


# -- its life ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("quick")
async def test_ready_with_the_first_published_frame(manager: Manager) -> None:
    async with Scene(manager, status_of(YARD)) as scene:
        await manager.gets("STATUS=1 stream: 1 starting; 0 fps; model midas_small bf16")
        assert "READY=1" not in manager.read()
        scene.status = status_of(DOOR, YARD)
        await manager.gets("READY=1")


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "streams",
    [
        (),
        (AWAY,),
        *[(replace(YARD, state=state),) for state in (StreamState.IDLE, StreamState.ENDED, StreamState.FAILED)],
    ],
    ids=["none", "away", "idle", "ended", "failed"],
)
async def test_ready_at_once_with_nothing_to_wait_for(manager: Manager, streams: tuple[Status, ...]) -> None:
    began = time.monotonic()
    async with Scene(manager, status_of(*streams, model_state=ModelState.STARTING)):
        await manager.gets("READY=1")
    assert time.monotonic() - began < systemd.START_S


@pytest.mark.usefixtures("quick")
async def test_ready_after_a_while_whatever_is_missing(manager: Manager, caplog: pytest.LogCaptureFixture) -> None:
    began = time.monotonic()
    async with Scene(manager, status_of(YARD)):
        await manager.gets("READY=1")
    assert time.monotonic() - began >= systemd.START_S
    assert "no depth yet from yard after 0.2 s" in caplog.text


@pytest.mark.usefixtures("quick")
async def test_asks_for_time_while_the_network_is_prepared(manager: Manager) -> None:
    async with Scene(manager, status_of(YARD, model_state=ModelState.STARTING)) as scene:
        await asyncio.sleep(1.5 * systemd.START_S)
        await _until(lambda: manager.count("EXTEND_TIMEOUT_USEC") > 3)
        assert not manager.count("READY")
        scene.status = status_of(DOOR)
        await manager.gets("READY=1")


@pytest.mark.usefixtures("quick")
async def test_feeds_the_watchdog_at_half_its_interval(manager: Manager) -> None:
    async with Scene(manager, status_of(DOOR)):
        began = time.monotonic()
        await _until(lambda: manager.count("WATCHDOG") > 5)
        assert 0.04 < time.monotonic() - began < 2
    assert manager.count("READY") == 1
    assert manager.count("STATUS") == 1, "the same status is sent once"


@pytest.mark.usefixtures("quick")
async def test_without_a_watchdog_none_is_fed(manager: Manager) -> None:
    async with Scene(manager, status_of(DOOR), watchdog_us="0"):
        await manager.gets("READY=1")
        await asyncio.sleep(0.05)
    assert not manager.count("WATCHDOG")


@pytest.mark.usefixtures("quick")
async def test_a_daemon_that_is_stuck_as_a_whole_starves_the_watchdog(
    manager: Manager, caplog: pytest.LogCaptureFixture
) -> None:
    async with Scene(manager, status_of(DOOR)) as scene:
        await manager.gets("WATCHDOG=1")
        scene.status = status_of(YARD, stuck=True)
        await _until(lambda: "not feeding" in caplog.text)
        fed = manager.count("WATCHDOG")
        await asyncio.sleep(0.1)
        assert manager.count("WATCHDOG") == fed
        scene.status = status_of(DOOR)
        await _until(lambda: manager.count("WATCHDOG") > fed)
    [line] = [record.getMessage() for record in caplog.records if record.levelno == logging.CRITICAL]
    assert line.startswith("no stream publishes what it gets")


@pytest.mark.usefixtures("quick")
async def test_reloading_and_stopping(manager: Manager) -> None:
    async with Scene(manager, status_of(DOOR)) as scene:
        await manager.gets("READY=1")
        before = time.monotonic_ns() // 1000
        with scene.link.reloading():
            await manager.gets("RELOADING=1")
            [moment] = [line for line in manager.lines if line.startswith("MONOTONIC_USEC=")]
            assert before <= int(moment.partition("=")[2]) <= time.monotonic_ns() // 1000
            assert manager.count("READY") == 1
        assert manager.count("READY") == 2
        scene.link.warning = "the configuration is bad"
        await manager.gets("STATUS=the configuration is bad; 1 stream: 1 running; 20 fps; model midas_small bf16")
        with scene.link.reloading():
            scene.link.stopping()
        assert manager.read()[-2:] == ["STOPPING=1", "STATUS=stopping"]


@pytest.mark.usefixtures("quick")
async def test_a_reload_does_not_make_ready(manager: Manager) -> None:
    async with Scene(manager, status_of(YARD)) as scene:
        await manager.gets("STATUS=1 stream: 1 starting; 0 fps; model midas_small bf16")
        with scene.link.reloading():
            pass
        assert not manager.count("READY")
        assert not manager.count("RELOADING")


async def test_without_systemd_it_does_nothing() -> None:
    link = SystemdLink(lambda: pytest.fail("nobody asked"), {})
    await link.run()
    with link.reloading():
        pass
    link.stopping()


async def _until(done: Callable[[], bool]) -> None:
    async with timeout(5):
        while not done():  # noqa: ASYNC110 - it looks at a socket
            await asyncio.sleep(0.005)
