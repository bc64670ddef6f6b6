"""Where a stream is pushed to: each target is tried again and again, like a camera, and is one more subscriber."""

from __future__ import annotations

import asyncio
import logging
from asyncio import sleep
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass

from streamd.concurrency.backoff import Backoff
from streamd.config.push import PushKind, PushTarget
from streamd.errors import PushFailed, StreamGone
from streamd.host import memory
from streamd.media.frames import Codec
from streamd.media.hub import PacketHub, Subscription
from streamd.sinks.push import rtsp
from streamd.sinks.push.feed import Feed
from streamd.sinks.webrtc import whip
from streamd.states import PushState
from streamd.telemetry.logs import StreamLog
from streamd.telemetry.metrics import StreamMetrics

log = logging.getLogger(__name__)

LOST = Backoff(first_s=0.5, cap_s=2.0)
"""Where nobody answers, or a server has gone: a try is a SYN, and it is to be back within 5 s."""
REFUSED = Backoff(first_s=0.5, cap_s=30.0)
SHORT_S = 5.0
"""A server that lets a stream go within this time is asked less and less often, as one that refuses it."""
STOP_S = 1.5
"""For a server to hear of the end."""

FindHub = Callable[[str, Codec], PacketHub]
PUSHERS: dict[PushKind, Callable[[PushTarget, Feed], Awaitable[None]]] = {"rtsp": rtsp.push, "whip": whip.push}


@dataclass(frozen=True)
class PushStatus:
    """Without the address, which may be a secret."""

    target: int
    """Its number in the settings, from 0."""
    kind: PushKind
    view: str
    state: PushState
    reason: str | None
    """Why it is not up."""


class Pushes:
    """Of one stream. Lives on the event loop."""

    def __init__(self, stream: str, hubs: FindHub, metrics: StreamMetrics) -> None:
        self._stream = stream
        self._hubs = hubs
        self._metrics = metrics
        self._running = False
        self._held: frozenset[str] = frozenset()
        self._pushes: dict[str, Push] = {}
        """By its text in the settings, in their order."""
        self._ending: set[asyncio.Task[None]] = set()

    @property
    def subscriptions(self) -> int:
        """How many subscribe to a hub."""
        return sum(push.subscribed for push in self._pushes.values())

    @property
    def statuses(self) -> tuple[PushStatus, ...]:
        return tuple(push.status(number) for number, push in enumerate(self._pushes.values()))

    def start(self, targets: Sequence[str]) -> None:
        self._running = True
        self.change(targets)

    def change(self, targets: Sequence[str]) -> None:
        """To these and no others; those that stay notice nothing. Does nothing before ``start`` and after ``stop``."""
        if not self._running:
            return
        before, self._pushes = self._pushes, {}
        for text in targets:
            push = before.pop(text, None)
            if push is None:
                target = PushTarget.parse(text)
                push = Push(self._stream, target, self._hubs, self._metrics, self._show)
            self._pushes[text] = push
        for gone in before.values():
            self._end(gone)
        self.hold(self._held)
        self._show()

    def hold(self, views: Collection[str]) -> None:
        """These are not pushed until they are held no more. Safe to repeat."""
        self._held = frozenset(views)
        for push in self._pushes.values():
            if push.view in self._held and not push.held:
                self._end(push)
                push.hold()
            elif push.view not in self._held and push.held:
                push.start()

    async def stop(self) -> None:
        """Returns when all have been told, or it took too long."""
        self._running = False
        for push in self._pushes.values():
            self._end(push)
        self._pushes = {}
        self._show()
        if self._ending:
            await asyncio.wait(self._ending, timeout=STOP_S)

    def _end(self, push: Push) -> None:
        push.task.cancel()
        self._ending.add(push.task)
        push.task.add_done_callback(self._ending.discard)

    def _show(self) -> None:
        self._metrics.pushes([push.state is PushState.UP for push in self._pushes.values()])


class Push:
    """One target, from now on until its task is cancelled or the stream has gone."""

    def __init__(
        self, stream: str, target: PushTarget, hubs: FindHub, metrics: StreamMetrics, on_change: Callable[[], None]
    ) -> None:
        self.state = PushState.CONNECTING
        self._reason: str | None = None
        self._stream = stream
        self._log = StreamLog(log, stream)
        self._target = target
        self._hubs = hubs
        self._metrics = metrics
        self._on_change = on_change
        self._subscription: Subscription | None = None
        self._feed = Feed(f"{stream} {target.view}", self._subscribe, self._up)
        self._loop = asyncio.get_running_loop()
        self._up_at: float | None = None
        self.held = False
        self.start()

    @property
    def view(self) -> str:
        return self._target.view

    def start(self) -> None:
        self.held = False
        self.task = asyncio.create_task(self._run(), name=f"push-{self._stream}")

    def hold(self) -> None:
        """Its task is cancelled."""
        self.held = True
        self._enter(PushState.WAITING, memory.SHORT)

    @property
    def subscribed(self) -> bool:
        return self._subscription is not None and not self._subscription.closed

    def status(self, number: int) -> PushStatus:
        return PushStatus(number, self._target.kind, self.view, self.state, self._reason)

    async def _run(self) -> None:
        lost, refused = LOST.start(), REFUSED.start()
        while True:
            failure = await self._push()
            if failure is None:
                return
            up_s = 0.0 if self._up_at is None else self._loop.time() - self._up_at
            self._wait_after(failure)
            if failure.refused or 0 < up_s < SHORT_S:
                delay_s = refused.after(up_s)
            else:
                refused = REFUSED.start()
                delay_s = lost.after(up_s)
            await sleep(delay_s)

    async def _push(self) -> PushFailed | None:
        """One try. None: the stream has gone."""
        self._up_at = None
        try:
            await PUSHERS[self._target.kind](self._target, self._feed)
        except PushFailed as failure:
            return failure
        except StreamGone:
            return None
        except Exception as error:  # a fault of ours ends nothing but this try
            self._log.exception("push to %s: internal error", self._target.place)
            return PushFailed(f"internal error: {error}", refused=True)
        return None

    def _subscribe(self, codec: Codec) -> Subscription:
        subscription = Subscription(self._hubs(self.view, codec), on_drop=self._metrics.viewer_drops.inc)
        self._subscription = subscription
        return subscription

    def _up(self) -> None:
        self._up_at = self._loop.time()
        self._log.info("push of %s to %s: up", self.view, self._target.place)
        self._enter(PushState.UP, None)

    def _wait_after(self, failure: PushFailed) -> None:
        if failure.reason != self._reason:  # once, not at every try
            self._log.warning("push of %s to %s: %s; trying again", self.view, self._target.place, failure.reason)
        self._enter(PushState.WAITING, failure.reason)

    def _enter(self, state: PushState, reason: str | None) -> None:
        self.state, self._reason = state, reason
        self._on_change()
