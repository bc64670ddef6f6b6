"""Targets are tried again and again, each for itself, and seen in status, metric and log."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from streamd.concurrency.backoff import Backoff
from streamd.config.push import PushTarget
from streamd.errors import PushFailed
from streamd.media.frames import Codec
from streamd.media.hub import PacketHub
from streamd.sinks.push.feed import Feed
from streamd.states import PushState
from streamd.streams import pushes
from streamd.streams.pushes import Pushes
from streamd.telemetry.metrics import Metrics
from tests.support.waiting import timeout

A, B = "rtsp://me:s3cret@a/x", "whip://s3cret@b/y#view=overlay"
Act = Callable[[Feed], Awaitable[None]]


class Peers:
    """What each host does with what is pushed to it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.metrics_of_all = Metrics()
        self.acts: dict[str, Act] = {}
        self.tries: list[str] = []
        self.told: list[str] = []
        """Hosts that heard of the end."""
        self.hub = PacketHub(asyncio.get_running_loop(), lambda reason: None)
        self.asked_for: list[tuple[str, Codec]] = []
        for kind in ("rtsp", "whip"):
            monkeypatch.setitem(pushes.PUSHERS, kind, self._push)
        fast = Backoff(first_s=0.001, cap_s=0.001)
        monkeypatch.setattr(pushes, "LOST", fast)
        monkeypatch.setattr(pushes, "REFUSED", fast)
        self.pushes = Pushes("porch", self._find, self.metrics_of_all.of_stream("porch"))

    def _find(self, view: str, codec: Codec) -> PacketHub:
        self.asked_for.append((view, codec))
        return self.hub

    async def _push(self, target: PushTarget, feed: Feed) -> None:
        host = target.address.host
        self.tries.append(host)
        try:
            await self.acts.get(host, takes)(feed)
        except asyncio.CancelledError:
            self.told.append(host)
            raise

    @property
    def states(self) -> list[tuple[PushState, str | None]]:
        return [(status.state, status.reason) for status in self.pushes.statuses]

    def up(self, target: int) -> float | None:
        labels = {"stream": "porch", "target": str(target)}
        return self.metrics_of_all.registry.get_sample_value("streamd_push_up", labels)

    async def until(self, done: Callable[[], object]) -> None:
        async with timeout(5):
            while not done():  # noqa: ASYNC110
                await asyncio.sleep(0.001)


async def takes(feed: Feed) -> None:
    """For ever."""
    subscription = feed.subscribe("h264")
    feed.on_up()
    try:
        await asyncio.Event().wait()
    finally:
        subscription.close()


def refuses(reason: str, *, refused: bool = True) -> Act:
    async def act(feed: Feed) -> None:
        raise PushFailed(reason, refused=refused)

    return act


@asynccontextmanager
async def pushed(peers: Peers, *targets: str) -> AsyncIterator[Peers]:
    peers.pushes.start(targets)
    try:
        yield peers
    finally:
        await peers.pushes.stop()


@pytest.fixture
async def peers(monkeypatch: pytest.MonkeyPatch) -> Peers:
    return Peers(monkeypatch)


async def test_what_is_known_of_each_target(peers: Peers) -> None:
    peers.acts["b"] = refuses("answers 404")
    async with pushed(peers, A, B):
        assert peers.states == [(PushState.CONNECTING, None)] * 2
        await peers.until(lambda: len(peers.tries) > 3)
        first, second = peers.pushes.statuses
        assert (first.target, first.kind, first.view, first.state, first.reason) == (0, "rtsp", "depth", "up", None)
        assert (second.target, second.kind, second.view, second.state) == (1, "whip", "overlay", "waiting")
        assert second.reason == "answers 404"
        assert (peers.up(0), peers.up(1)) == (1, 0)
        assert (peers.pushes.subscriptions, len(peers.hub)) == (1, 1)
        assert peers.asked_for == [("depth", "h264")]
    assert (peers.up(0), peers.up(1), len(peers.hub), peers.told) == (None, None, 0, ["a"])


async def test_a_line_for_each_change_and_no_secret(peers: Peers, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    peers.acts["a"] = refuses("does not answer", refused=False)
    async with pushed(peers, A):
        await peers.until(lambda: len(peers.tries) > 5)
        peers.acts["a"] = takes
        await peers.until(lambda: peers.states == [(PushState.UP, None)])
    assert [record.getMessage() for record in caplog.records] == [
        "stream porch: push of depth to rtsp a:554: does not answer; trying again",
        "stream porch: push of depth to rtsp a:554: up",
    ]
    assert "s3cret" not in caplog.text


async def test_a_fault_of_ours_ends_one_try_only(peers: Peers, caplog: pytest.LogCaptureFixture) -> None:
    async def breaks(feed: Feed) -> None:
        raise ZeroDivisionError("oh")

    peers.acts["a"] = breaks
    async with pushed(peers, A, B):
        await peers.until(lambda: peers.tries.count("a") > 2)
        assert peers.states == [(PushState.WAITING, "internal error: oh"), (PushState.UP, None)]
    assert "ZeroDivisionError" in caplog.text


async def test_other_targets_leave_those_that_stay_alone(peers: Peers) -> None:
    async with pushed(peers, A, B):
        await peers.until(lambda: peers.states == [(PushState.UP, None)] * 2)
        peers.pushes.change([B, "rtsp://c/z"])
        await peers.until(lambda: peers.tries == ["a", "b", "c"] and peers.told == ["a"])
        assert [status.view for status in peers.pushes.statuses] == ["overlay", "depth"]
        assert (peers.up(0), peers.up(1)) == (1, 1)
        peers.pushes.change([B])
        assert (peers.up(0), peers.up(1)) == (1, None)
        await peers.until(lambda: peers.told == ["a", "c"])
        assert len(peers.hub) == 1


async def test_a_view_is_held_while_memory_is_short(peers: Peers) -> None:
    async with pushed(peers, A, B):
        await peers.until(lambda: peers.states == [(PushState.UP, None)] * 2)
        for _ in range(2):
            peers.pushes.hold({"overlay", "depth16"})
        assert peers.states == [(PushState.UP, None), (PushState.WAITING, "memory is short")]
        await peers.until(lambda: peers.told == ["b"] and len(peers.hub) == 1)
        peers.pushes.change([B, A, "rtsp://c/z#view=overlay"])
        assert [reason for _, reason in peers.states] == ["memory is short", None, "memory is short"]
        for _ in range(2):
            peers.pushes.hold(())
        await peers.until(lambda: peers.states == [(PushState.UP, None)] * 3)
        assert sorted(peers.tries) == ["a", "b", "b", "c"]
        assert len(peers.hub) == 3
    assert len(peers.hub) == 0


async def test_nothing_is_pushed_before_the_stream_runs_and_after_it(peers: Peers) -> None:
    peers.pushes.change([A])
    assert peers.pushes.statuses == ()
    async with pushed(peers):
        pass
    peers.pushes.change([A])
    assert (peers.pushes.statuses, peers.tries) == ((), [])


async def test_it_ends_with_its_stream(peers: Peers) -> None:
    peers.hub.close()
    async with pushed(peers, A):
        await peers.until(lambda: peers.tries == ["a"])
        await asyncio.sleep(0.01)
        assert peers.tries == ["a"]


async def test_the_end_does_not_wait_for_one_that_hangs(peers: Peers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pushes, "STOP_S", 0.05)
    let_go = asyncio.Event()

    async def hangs(feed: Feed) -> None:
        feed.on_up()
        try:
            await asyncio.Event().wait()
        finally:
            await let_go.wait()

    peers.acts["a"] = hangs
    async with pushed(peers, A):
        await peers.until(lambda: peers.states == [(PushState.UP, None)])
    let_go.set()
    await peers.until(lambda: peers.told == ["a"])


@pytest.mark.parametrize(
    ("failure", "up", "delays"),
    [
        (PushFailed("does not answer"), False, (0.5, 0.8, 1.3, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0)),
        (PushFailed("answers 403", refused=True), False, (0.5, 0.8, 1.3, 2.1, 3.4, 5.5, 9.0, 14.5, 23.5, 30.0, 30.0)),
        (PushFailed("has hung up"), True, (0.5, 0.8, 1.3, 2.1, 3.4, 5.5, 9.0, 14.5, 23.5, 30.0, 30.0)),
    ],
    ids=["away", "refused", "flaps"],
)
async def test_how_long_it_waits(
    failure: PushFailed, up: bool, delays: tuple[float, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Peers(monkeypatch)
    monkeypatch.undo()
    waited: list[float] = []
    enough = asyncio.Event()

    async def push(target: PushTarget, feed: Feed) -> None:
        if up:
            feed.on_up()
        raise failure

    async def sleep(seconds: float) -> None:
        waited.append(round(seconds, 1))
        if len(waited) == len(delays):
            enough.set()
            await asyncio.Event().wait()

    monkeypatch.setitem(pushes.PUSHERS, "rtsp", push)
    monkeypatch.setattr(pushes, "LOST", Backoff(pushes.LOST.first_s, cap_s=pushes.LOST.cap_s, jitter=lambda: 0.5))
    monkeypatch.setattr(pushes, "REFUSED", Backoff(pushes.REFUSED.first_s, cap_s=30.0, jitter=lambda: 0.5))
    monkeypatch.setattr(pushes, "sleep", sleep)
    made.pushes.start([A])
    async with timeout(5):
        await enough.wait()
    await made.pushes.stop()
    assert tuple(waited) == delays
