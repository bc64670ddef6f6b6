"""A network and a camera that a test plays: no process, no torch, no file."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from types import SimpleNamespace

import av

from streamd.concurrency.turns import Turns
from streamd.config.sections import StreamConfig
from streamd.depth.estimator import ModelInfo
from streamd.depth.models import find_model
from streamd.errors import InferenceFailed, StreamdError
from streamd.media.frames import EncodedPacket, FloatImage
from streamd.sources.base import Source
from streamd.states import ModelState, WorkerEnd
from tests.support.clips import picture_of

INFO = ModelInfo(find_model("embedded"), "ab", "openvino", "fp32")
LOST = InferenceFailed(WorkerEnd.CRASHED, "test")


class PlayedService:
    """Stands in for DepthService. Answers at once unless ``paused``; change the fields."""

    def __init__(self, info: ModelInfo | None = INFO) -> None:
        self.info = info
        self.failure: StreamdError | None = None
        self.paused = False
        self.leases = 0
        self.turns = Turns(2)
        self.lost: list[int] = []
        """Which of the next answers fail."""
        self.waiting: list[tuple[Future[FloatImage], FloatImage]] = []
        self.submitted = threading.Semaphore(0)

    @contextmanager
    def leased(self, *, live: bool = False) -> Iterator[None]:
        self.leases += 1
        try:
            yield
        finally:
            self.leases -= 1

    @property
    def status(self) -> SimpleNamespace:
        state = ModelState.READY if self.info else ModelState.FAILED if self.failure else ModelState.STARTING
        return SimpleNamespace(state=state, message=str(self.failure) if self.failure else None)

    def is_ready(self, timeout_s: float) -> bool:
        if self.info is None:
            time.sleep(min(timeout_s, 0.002))
        return self.info is not None

    def wait_ready(self, timeout_s: float | None = None) -> ModelInfo:
        if self.info is None:
            raise self.failure or InferenceFailed(WorkerEnd.STOPPED, "no model is ready")
        return self.info

    def submit(self, info: ModelInfo, planes: FloatImage, **_: object) -> Future[FloatImage]:
        if info != self.info:
            raise InferenceFailed(WorkerEnd.CHANGED, "another model runs now")
        future: Future[FloatImage] = Future()
        self.waiting.append((future, planes))
        if self.lost and self.lost.pop(0):
            future.set_exception(LOST)
        elif not self.paused:
            self.answer()
        self.submitted.release()
        return future

    def answer(self, number: int = -1) -> None:
        """Depth is what the first colour plane shows."""
        future, planes = self.waiting[number]
        future.set_result(planes[0])


class PlayedHub:
    """Stands in for PacketHub: watched, and keeps what is published."""

    watched = True

    def __init__(self) -> None:
        self.packets: list[EncodedPacket] = []

    def publish_threadsafe(self, packets: list[EncodedPacket]) -> None:
        self.packets += packets


class PlayedCamera:
    """Each life of the source plays what ``film`` and ``end`` put in, and waits for more."""

    def __init__(self, *, live: bool = True) -> None:
        self.live = live
        self.opened = 0
        self.stuck: threading.Event | None = None
        """Until it is set, the camera does not even hear that it shall stop."""
        self._reel: SimpleQueue[av.VideoFrame | Exception | None] = SimpleQueue()
        self._count = 0

    def film(self, count: int = 1, size: tuple[int, int] = (192, 112)) -> None:
        for _ in range(count):
            self._reel.put(picture_of(self._count, *size))
            self._count += 1

    def show(self, picture: av.VideoFrame) -> None:
        self._reel.put(picture)

    def linger(self) -> None:
        """The newest picture again: nothing has changed."""
        self._reel.put(picture_of(self._count - 1, 192, 112))

    def end(self, error: Exception | None = None) -> None:
        """The file is over, or the camera fails."""
        self._reel.put(error)

    def __call__(self, config: StreamConfig, stop: threading.Event, threads: int = 1) -> Source:
        """What a Stream takes as ``open_source``."""
        camera = self

        class Played(Source):
            live = camera.live

            def frames(self) -> Generator[av.VideoFrame, None, None]:
                camera.opened += 1
                while not self.stop.is_set() or (camera.stuck and not camera.stuck.is_set()):
                    try:
                        item = camera._reel.get(timeout=0.01)
                    except Empty:
                        continue
                    if isinstance(item, Exception):
                        raise item
                    if item is None:
                        return
                    yield item

        return Played(config, stop)
