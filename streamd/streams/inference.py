"""The infer thread of a stream, and of a file job: captured frames in, depth frames out."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace

from streamd.concurrency.mailbox import Closed, Mailbox
from streamd.depth.estimator import ModelInfo, as_inverse_depth
from streamd.depth.gate import ChangeGate
from streamd.depth.preprocess import VideoPreprocessor
from streamd.depth.service import DepthService
from streamd.errors import InferenceFailed, StreamdError
from streamd.media.frames import ByteImage, CapturedFrame, DepthFrame, FloatImage, Picture
from streamd.states import Change

log = logging.getLogger(__name__)

POLL_S = 0.25
NETWORK_S = 30.0
TRIES = 3

Observe = Callable[[str, float], None]
"""Takes a stage and the seconds that it took."""


@dataclass(frozen=True, slots=True)
class _Request:
    frame: CapturedFrame
    info: ModelInfo
    luma: ByteImage
    future: Future[FloatImage]
    started: float


class Inference:
    """Takes from ``inbox``, puts to ``outbox``, in order; ends when the inbox is closed.

    Live, one frame is in flight at a time and a frame that fails is skipped. Streams take turns, and
    the frame is chosen when the turn has come: the newest, not one that grew old in a queue. With
    ``every``, ``in_flight`` frames are, and one that fails (its worker was replaced) is tried again.
    With ``gate``, frames in which nothing has changed are not inferred. ``mask`` blackens the masked areas; everything
    behind this thread gets the masked picture only. ``name`` is that of the stream.
    """

    def __init__(
        self,
        service: DepthService,
        inbox: Mailbox[CapturedFrame],
        outbox: Mailbox[DepthFrame],
        *,
        every: bool = False,
        in_flight: int = 1,
        name: str = "",
        mask: Callable[[Picture], Picture] = lambda picture: picture,
        observe: Observe = lambda stage, seconds: None,
        on_error: Callable[[CapturedFrame], None] = lambda frame: None,
        on_depth: Callable[[Change], None] = lambda change: None,
        gate: ChangeGate | None = None,
    ) -> None:
        self._service = service
        self._inbox = inbox
        self._outbox = outbox
        self._every = every
        self._in_flight = in_flight
        self._name = name
        self._mask = mask
        self._observe = observe
        self._on_error = on_error
        self._on_depth = on_depth
        self._gate = gate
        self._change = Change.CHANGED
        """Why the next frame is inferred."""
        self._newest: tuple[Picture, Picture] | None = None
        """As captured, and with its masked areas black."""
        self._last: tuple[ModelInfo, DepthFrame] | None = None
        """The newest frame, whose depth may be reused, and by which network that is."""
        self._preprocess = VideoPreprocessor()
        self._requests: deque[_Request] = deque()

    def run(self) -> None:
        """The thread's body. Raises, with ``every``, what makes a frame impossible."""
        try:
            while True:
                self._wait_for_network()  # live, the frame that waits is replaced by newer ones meanwhile
                if self._every:
                    self._take(self._inbox.get())
                elif not self._reuse():
                    could_wait = self._change is Change.DUE
                    with self._service.turns.one(lambda: self._inbox.discarded, spare=could_wait):
                        self._take(self._inbox.get(0.0))
        except Closed:
            self._finish_all()
        finally:
            self._inbox.close(discard=True)
            self._outbox.close()

    def _finish_all(self) -> None:
        """Waits for the frames in flight at the end, unless they are discarded: the network may take a minute."""
        try:
            while self._requests:
                self._finish(self._requests.popleft())
        except Closed:
            pass

    def _reuse(self) -> bool:
        """Waits for a frame. One in which nothing has changed takes the last depth and no turn of the network; any
        other stays in the inbox, where newer ones may replace it: False."""
        if self._gate is None or self._last is None:
            self._inbox.wait()
            return False
        frame = self._inbox.get()
        if frame is None:
            return True
        info, last = self._last
        picture = self._masked(frame.picture)
        is_busy = not self._service.turns.has_spare  # those that move go first
        self._change = self._gate.test(picture, frame.stamp.captured_at, is_busy=is_busy)
        if last.stamp.epoch != frame.stamp.epoch or info != self._service.info:
            self._change = Change.CHANGED
        if not self._change.reuses_depth:
            self._inbox.put_back(frame)
            return False
        seen = frame.stamp.sequence if self._change is Change.FAINT else last.seen
        reused = replace(last, stamp=frame.stamp, picture=picture, change=self._change, seen=seen)
        self._last = info, reused
        self._put(reused)
        return True

    def _masked(self, picture: Picture) -> Picture:
        """Once for each: the one that the gate has tested is most often inferred next."""
        if self._newest is None or self._newest[0] is not picture:
            self._newest = picture, self._mask(picture)
        return self._newest[1]

    def _put(self, frame: DepthFrame) -> None:
        self._on_depth(frame.change)
        self._outbox.put(frame)

    def _take(self, frame: CapturedFrame | None) -> None:
        if frame is None:
            return
        if not self._every:  # a file's own times are no capture times
            self._observe("wait", frame.stamp.age_s())
        self._begin(frame)
        while len(self._requests) >= self._in_flight:
            self._finish(self._requests.popleft())

    def _begin(self, frame: CapturedFrame) -> None:
        """Tries again when the network changed or was replaced just now."""
        for left in reversed(range(TRIES)):
            try:
                self._requests.append(self._submit(frame))
                return
            except StreamdError:
                if self._every and not left:
                    raise
                if self._every:
                    self._wait_for_network()
        self._on_error(frame)

    def _wait_for_network(self) -> None:
        """Raises Closed when the frames are discarded; with ``every`` the failure of the model, a lost worker only
        after NETWORK_S."""
        until = time.monotonic() + NETWORK_S
        while not self._service.is_ready(POLL_S):
            if self._inbox.discarded:
                raise Closed
            if self._every:
                try:
                    self._service.wait_ready(0.0)
                except InferenceFailed:
                    if time.monotonic() > until:
                        raise

    def _submit(self, frame: CapturedFrame) -> _Request:
        info = self._service.wait_ready(0.0)
        started = time.monotonic()
        frame = replace(frame, picture=self._masked(frame.picture))
        planes, luma = self._preprocess(frame.picture, info.spec.preprocessing)
        self._observe("preprocess", time.monotonic() - started)
        started, size = time.monotonic(), (frame.picture.width, frame.picture.height)
        answer = self._service.submit(info, planes, picture=size, source=self._name, patient=self._every)
        return _Request(frame, info, luma, answer, started)

    def _finish(self, item: _Request) -> None:
        """Raises Closed as soon as the frames are discarded."""
        try:
            output = self._inbox.result(item.future)
        except InferenceFailed:
            if not self._every:
                self._on_error(item.frame)
                return
            item = self._again(item.frame)
            output = self._inbox.result(item.future)
        self._observe("infer", time.monotonic() - item.started)
        depth = as_inverse_depth(output, item.info.spec)
        frame, origin = item.frame, item.info.provenance
        seen = frame.stamp.sequence
        inferred = DepthFrame(frame.stamp, frame.picture, depth, item.luma, output, origin, self._change, seen)
        if self._gate is not None:
            self._gate.inferred(frame.picture, frame.stamp.captured_at)
            self._last = item.info, inferred
        self._put(inferred)

    def _again(self, frame: CapturedFrame) -> _Request:
        """After the worker was replaced. A second loss of the same frame is given up on."""
        self._begin(frame)
        return self._requests.pop()
