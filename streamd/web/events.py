"""Server-sent events: changes of streams, zones and the model at once, and what all streams do each second.

    event: state         {"time", "name", "change": "added" | "state" | "removed", "state", "reason"}
    event: calibration   {"time", "name", "calibrated", "in_use", "reason"}
    event: zone          {"time", "stream", "zone", "kind": "near" | "clear", "reason", "area", "nearest_share",
                         "nearest_metres"}
    event: model         as "model" of GET /api/v1/streams
    event: statistics    as GET /api/v1/streams answers

A client that comes late misses nothing: each begins with the statistics. So there are no ids, and
Last-Event-ID means nothing.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import Any

from aiohttp import web

from streamd.depth.service import DepthService
from streamd.streams.events import ZoneEvent
from streamd.streams.fleet import Change, Fleet
from streamd.streams.stream import Stream
from streamd.web.description import describe_model
from streamd.web.errors import RETRY_AFTER_S, Refusal
from streamd.web.routes import Route
from streamd.web.streaming import alive, keep_short, send
from streamd.web.tokens import Scope

PATH = "/api/v1/events"
MAX_CLIENTS = 64
MAX_WAITING = 256
"""Changes that may wait for a client; one that lets more pile up is disconnected."""
STATISTICS_S = 1.0
HEARTBEAT_S = 10.0
RETRY_MS = 2000
_HEADERS = {"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}


async def events(request: web.Request) -> web.StreamResponse:
    if request.method == "HEAD":
        return web.Response(headers=_HEADERS)
    with request.app[BROADCASTER].join() as client:
        response = web.StreamResponse(headers=_HEADERS)
        await response.prepare(request)
        keep_short(request)
        going = await send(request, response, f"retry: {RETRY_MS}\n\n".encode())
        while going and alive(request) and not client.closed:
            going = await send(request, response, await client.next())
    return response


class EventQueue:
    """What waits for one client: every change, and the newest statistics."""

    def __init__(self) -> None:
        self.closed = False
        self._changes: deque[bytes] = deque()
        self._statistics: bytes | None = None
        self._wake = asyncio.Event()

    def change(self, event: bytes) -> None:
        self._changes.append(event)
        if len(self._changes) > MAX_WAITING:
            self.close()
        self._wake.set()

    def statistics(self, event: bytes) -> None:
        self._statistics = event
        self._wake.set()

    def close(self) -> None:
        self.closed = True
        self._changes.clear()
        self._wake.set()

    async def next(self) -> bytes:
        """All that waits; a comment when nothing came for ``HEARTBEAT_S``."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._wake.wait(), HEARTBEAT_S)
        self._wake.clear()
        waiting = [*self._changes, *([self._statistics] if self._statistics else [])]
        self._changes.clear()
        self._statistics = None
        return b"".join(waiting) or b": still here\n\n"


class Broadcaster:
    """Makes each event once for all clients. Lives on the event loop; works while there are any."""

    def __init__(self, streams: Fleet, service: DepthService, describe: Callable[[], dict[str, Any]]) -> None:
        self._streams = streams
        self._service = service
        self._describe = describe
        self._model: dict[str, Any] = {}
        """As it was told last."""
        self._model_watcher: Callable[[], None] = lambda: None
        self._clients: set[EventQueue] = set()
        self._newest: bytes | None = None
        self._ticker: asyncio.Task[None] | None = None
        self._closed = False

    @property
    def clients(self) -> int:
        return len(self._clients)

    @contextmanager
    def join(self) -> Iterator[EventQueue]:
        """Raises Refusal when there are too many."""
        if self.clients >= MAX_CLIENTS or self._closed:
            message = f"all {MAX_CLIENTS} places for events are taken; try again"
            raise Refusal(503, "full", message, {"Retry-After": str(RETRY_AFTER_S)})
        client = EventQueue()
        self._clients.add(client)
        if self._ticker is None:
            self._streams.watchers.add(self._changed)
            self._streams.zone_watchers.add(self._zone_changed)
            self._watch_model()
            self._ticker = asyncio.create_task(self._tick(), name="events")
        elif self._newest is not None:
            client.statistics(self._newest)
        try:
            yield client
        finally:
            self._clients.discard(client)
            if not self._clients:
                self._stop()

    async def end(self, app: web.Application) -> None:
        """The server is about to close: ends all subscriptions."""
        self._closed = True
        for client in self._clients:
            client.close()

    def _stop(self) -> None:
        self._streams.watchers.discard(self._changed)
        self._streams.zone_watchers.discard(self._zone_changed)
        self._service.watchers.discard(self._model_watcher)
        if self._ticker is not None:
            self._ticker.cancel()
        self._ticker = self._newest = None

    def _watch_model(self) -> None:
        loop = asyncio.get_running_loop()

        def changed() -> None:
            """Any thread."""
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._model_changed)

        self._model = describe_model(self._service.status)
        self._model_watcher = changed
        self._service.watchers.add(changed)

    def _model_changed(self) -> None:
        before, self._model = self._model, describe_model(self._service.status)
        if before != self._model:
            self._tell(_event("model", self._model))

    def _tell(self, event: bytes) -> None:
        for client in tuple(self._clients):
            client.change(event)

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + STATISTICS_S
            self._newest = _event("statistics", self._describe())
            for client in self._clients:
                client.statistics(self._newest)
            await asyncio.sleep(due - loop.time())

    def _changed(self, stream: Stream, change: Change) -> None:
        if change == "calibration":
            self._tell(
                _event("calibration", {"time": time.time(), "name": stream.name, **asdict(stream.calibration_status)})
            )
            return
        what = {"name": stream.name, "change": change, "state": stream.state, "reason": stream.reason}
        self._tell(_event("state", {"time": time.time(), **what}))

    def _zone_changed(self, event: ZoneEvent) -> None:
        self._tell(_event("zone", event.json))


BROADCASTER = web.AppKey("broadcaster", Broadcaster)
ROUTES = (
    Route(
        "GET",
        PATH,
        events,
        Scope.VIEW,
        "Changes of streams, zones and model at once, statistics each second",
        {200: {"text/event-stream": {}}},
        errors=(503,),
    ),
)


def _event(kind: str, data: dict[str, Any]) -> bytes:
    return f"event: {kind}\ndata: {json.dumps(data)}\n\n".encode()
