"""Many cameras on one network: those that move get what the still ones leave, and those are looked at now and then."""

from __future__ import annotations

import itertools
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any

import av
import pytest

from streamd.concurrency import threads
from streamd.concurrency.mailbox import Mailbox
from streamd.concurrency.turns import Turns
from streamd.depth.estimator import ModelInfo
from streamd.depth.gate import ChangeGate
from streamd.media.frames import CapturedFrame, DepthFrame, FloatImage, Picture, Stamp
from streamd.states import Change
from streamd.streams.inference import Inference
from tests.support.played import PlayedService
from tests.support.waiting import scaled

pytestmark = pytest.mark.timeout(20)

SIDE_BY_SIDE, INFER_S = 2, 0.01
REFRESH_S, LATEST_S = 0.25, 1.0
"""Of still cameras: how often, and where others need the network (``gate.OVERDUE``)."""
FPS = 150
"""Of each: three that move offer more than twice what the network can do."""


class Network(PlayedService):
    """Takes its time; two at once."""

    def __init__(self) -> None:
        super().__init__()
        self.turns = Turns(SIDE_BY_SIDE + 1)
        self.under_way, self.asked, self.beside = Counter[str](), Counter[str](), Counter[str]()
        """By the kind of camera: inferences now, in all, and those that began while another was under way."""
        self._queue: SimpleQueue[tuple[str, Future[FloatImage], FloatImage] | None] = SimpleQueue()
        self._workers = [threads.start(f"network-{n}", self._work) for n in range(SIDE_BY_SIDE)]

    def submit(self, info: ModelInfo, planes: FloatImage, **told: object) -> Future[FloatImage]:
        future: Future[FloatImage] = Future()
        kind = str(told["source"]).rstrip("0123456789")
        self.asked[kind] += 1
        self.beside[kind] += self.under_way[kind] > 0
        self.under_way[kind] += 1
        self._queue.put((kind, future, planes))
        return future

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            kind, future, planes = item
            time.sleep(INFER_S)
            self.under_way[kind] -= 1
            future.set_result(planes[0])

    def close(self) -> None:
        for _ in self._workers:
            self._queue.put(None)
        for worker in self._workers:
            worker.join()


class Camera:
    """Its infer thread, and what comes out of it."""

    def __init__(self, name: str, network: Network) -> None:
        self.name = name
        self.inferred_at: list[float] = []
        self.changes: Counter[Change] = Counter()
        self._number = itertools.count()
        self._frames: Mailbox[CapturedFrame] = Mailbox()
        depths: Mailbox[DepthFrame] = Mailbox()
        self._thread = threads.start(
            name,
            Inference(
                network,  # type: ignore[arg-type]
                self._frames,
                depths,
                name=name,
                gate=ChangeGate(REFRESH_S),
                on_depth=self._note,
            ).run,
        )

    def _note(self, change: Change) -> None:
        self.changes[change] += 1
        if not change.reuses_depth:
            self.inferred_at.append(time.monotonic())

    def film(self) -> None:
        number = next(self._number)
        luma = 40 + 60 * (number % 3) if self.name.startswith("moving") else 90
        self._frames.put(CapturedFrame(Stamp(number, number, time.monotonic()), picture(luma)))

    def close(self) -> None:
        self._frames.close(discard=True)
        self._thread.join()


def picture(luma: int) -> Picture:
    found = av.VideoFrame(64, 64, "gray")
    found.planes[0].update(bytes([luma]) * found.planes[0].buffer_size)
    return found


class Site:
    def __init__(self, *, moving: int, still: int) -> None:
        self.network = Network()
        self.moving = [Camera(f"moving{number}", self.network) for number in range(moving)]
        self.still = [Camera(f"still{number}", self.network) for number in range(still)]

    def film(self, seconds: float) -> float:
        """Returns how long it took."""
        began = now = time.monotonic()
        while now - began < seconds:
            for camera in (*self.moving, *self.still):
                camera.film()
                time.sleep(1 / FPS / len((*self.moving, *self.still)))  # cameras do not send at the same moment
            now = time.monotonic()
        return now - began

    def close(self) -> None:
        for camera in (*self.moving, *self.still):
            camera.close()
        self.network.close()


@pytest.fixture
def make_site() -> Iterator[Any]:
    sites: list[Site] = []

    def make(**cameras: int) -> Site:
        sites.append(Site(**cameras))
        return sites[-1]

    yield make
    for site in sites:
        site.close()
    assert not any(thread.name.startswith("network") for thread in threading.enumerate())


def test_on_a_full_box_the_moving_get_all_but_what_refreshing_needs(make_site: Any) -> None:
    site = make_site(moving=3, still=8)
    seconds = site.film(3.0)
    moving = [len(camera.inferred_at) for camera in site.moving]
    refreshes = sum(camera.changes[Change.DUE] for camera in site.still)
    assert refreshes <= 8 * (seconds / (2 * REFRESH_S) + 1), "no more often than is needed"
    assert sum(moving) >= 5 * refreshes
    assert max(moving) <= 1.3 * min(moving), "and among each other each gets its share"
    for camera in site.still:
        assert camera.changes[Change.NONE] > 0
        gaps = [after - before for before, after in itertools.pairwise(camera.inferred_at)]
        assert len(gaps) >= 1, "never starved"
        assert max(gaps) <= LATEST_S + scaled(0.5)


def test_still_cameras_that_began_together_follow_each_other(make_site: Any) -> None:
    """Else one that begins to move would find the network taken by all of them."""
    site = make_site(moving=0, still=12)
    site.film(0.15)
    site.network.asked.clear()
    site.network.beside.clear()
    site.film(1.5)
    assert all(camera.changes[Change.DUE] >= 2 for camera in site.still)
    assert site.network.beside["still"] <= 0.2 * site.network.asked["still"]
