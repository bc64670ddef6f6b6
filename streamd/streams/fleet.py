"""All streams of the daemon: added, changed and removed one by one, while the others go on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from types import MappingProxyType
from typing import Literal
from weakref import WeakValueDictionary

from streamd.config.sections import StreamConfig
from streamd.errors import Busy, Stopping
from streamd.states import Origin
from streamd.streams.events import ZoneEvent
from streamd.streams.kept import FLUSH_S, KeptStreams
from streamd.streams.stream import Stream
from streamd.telemetry.logs import StreamLog

log = logging.getLogger(__name__)

MAX_STREAMS = 256
"""The API adds no more."""

Change = Literal["added", "state", "calibration", "removed"]
Settings = Callable[[StreamConfig | None], StreamConfig]
"""Makes the settings that are wanted from those that are wanted now; None: there is no such stream."""


class Fleet(Mapping[str, Stream]):
    """Lives on the event loop. What it is asked for before ``run`` begins with it.

    Changes of one name happen in the order in which they were asked for; a stream begins when the one before of
    its name has ended. Each change is merged into what is wanted at that moment, so none undoes another.
    """

    def __init__(
        self,
        make: Callable[[str, StreamConfig], Stream],
        forget: Callable[[str], None],
        configured: Mapping[str, StreamConfig] = MappingProxyType({}),
        kept: KeptStreams | None = None,
    ) -> None:
        """``forget`` is called with the name of a stream that has been removed. ``configured`` are those of the file;
        what the API adds beside them is ``kept``."""
        self._make = make
        self._forget = forget
        self._kept = kept
        self._streams: dict[str, Stream] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        """Of all streams that run, also of those that have been removed and have not ended yet."""
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._group: asyncio.TaskGroup | None = None
        self._configured = set(configured)
        self.stopping = False
        self.watchers: set[Callable[[Stream, Change], None]] = set()
        """Called on the event loop at once when a stream changes: must not block, nor raise."""
        self.zone_watchers: set[Callable[[ZoneEvent], None]] = set()
        """The same, when something is near in a zone of a stream, or no more."""
        for name, config in configured.items():
            self._add(name, config)

    def __getitem__(self, name: str) -> Stream:
        return self._streams[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._streams)

    def __len__(self) -> int:
        return len(self._streams)

    @property
    def stuck(self) -> bool:
        """Whether streams get pictures but none of them publishes any, and starting them anew has not helped."""
        statuses = [stream.status for stream in self.values()]
        return any(status.stuck for status in statuses) and not any(status.publishes for status in statuses)

    async def restore(self) -> None:
        """Adds what was kept, before anyone can change it. The configuration file wins."""
        if self._kept is not None:
            self._adopt(await self._kept.load(self._adopt))
            await self._keep()

    def _adopt(self, kept: Mapping[str, StreamConfig]) -> bool:
        """Also those that a slow disk gives later, unless it is the end."""
        if self.stopping or self._kept is None:
            return False
        for name, config in kept.items():
            if name not in self and name not in self._tasks:
                self._add(name, config)
        self._kept.want(self._added())
        return True

    async def run(self, stop: asyncio.Event) -> None:
        """Until ``stop``; then all streams end, at the same time."""
        async with asyncio.TaskGroup() as self._group:
            for stream in self._streams.values():
                self._start(stream)
            try:
                await stop.wait()
            finally:
                self.stopping = True
                for stream in self._streams.values():
                    stream.stop()

    async def close(self, within_s: float = FLUSH_S) -> None:
        """After ``run``: another process may keep its streams from now on."""
        if self._kept is not None:
            await self._kept.close(within_s)

    # -- changes --------------------------------------------------------------------------------

    async def put(self, name: str, config: StreamConfig) -> bool:
        """Adds a stream, or gives it these settings. Otherwise as ``change``."""
        return await self.change(name, lambda _: config)

    async def change(self, name: str, settings: Settings) -> bool:
        """For the API. Whether the stream is new. Returns before the settings are in force. Raises Stopping, Busy
        when there are too many streams, and what ``settings`` raises."""
        async with self._turn(name):
            if name not in self and len(self) >= MAX_STREAMS:
                raise Busy(f"there are {MAX_STREAMS} streams already: remove one first")
            created = self._put(name, settings)
        await self._keep()
        return created

    async def remove(self, name: str) -> None:
        """Returns when nothing of it is left: files complete, viewers gone. Raises KeyError and Stopping."""
        async with self._turn(name):
            await self._remove(self._streams[name])
        await self._keep()

    async def apply(self, configured: Mapping[str, StreamConfig]) -> None:
        """Brings the streams of the file in line with it. Streams that the API added stay. Raises Stopping."""
        gone = self._configured - set(configured)
        self._configured = set(configured)
        changes = [self._apply(name, config) for name, config in configured.items()]
        results = await asyncio.gather(*changes, *map(self._withdraw, gone), return_exceptions=True)
        await self._keep()
        for error in filter(None, results):
            raise error

    async def _apply(self, name: str, config: StreamConfig) -> None:
        async with self._turn(name):
            self._put(name, lambda _: config)

    async def _withdraw(self, name: str) -> None:
        """Unless the API has removed it before, or the file names it again by now."""
        async with self._turn(name):
            if name in self._streams and name not in self._configured:
                StreamLog(log, name).info("no longer configured")
                await self._remove(self._streams[name])

    # -- one after the other, by name -------------------------------------------------------------

    @asynccontextmanager
    async def _turn(self, name: str) -> AsyncIterator[None]:
        """To change this stream, when the one before of this name has ended. Raises Stopping."""
        lock = self._locks.setdefault(name, asyncio.Lock())
        async with lock:
            if name in self._tasks and name not in self._streams:
                await asyncio.wait([self._tasks[name]])
            if self.stopping:
                raise Stopping
            yield

    def _put(self, name: str, settings: Settings) -> bool:
        stream = self._streams.get(name)
        config = settings(stream.wanted if stream else None)
        if stream is None:
            self._add(name, config)
            return True
        stream.origin = self._origin(name)
        stream.reconfigure(config)
        return False

    def _add(self, name: str, config: StreamConfig) -> None:
        stream = self._streams[name] = self._make(name, config)
        stream.origin = self._origin(name)
        stream.on_change = partial(self._notify, stream, "state")
        stream.on_calibration = partial(self._notify, stream, "calibration")
        stream.on_zone = self._notify_zone
        self._notify(stream, "added")
        if self._group is not None:
            self._start(stream)

    def _origin(self, name: str) -> Origin:
        return Origin.FILE if name in self._configured else Origin.API

    async def _remove(self, stream: Stream) -> None:
        del self._streams[stream.name]
        stream.stop()
        task = self._tasks.get(stream.name)
        if task is None:
            self._removed(stream)
        else:
            await asyncio.wait([task])

    def _start(self, stream: Stream) -> None:
        assert self._group is not None
        self._tasks[stream.name] = self._group.create_task(self._attend(stream), name=f"stream-{stream.name}")

    async def _attend(self, stream: Stream) -> None:
        """A stream's failure never touches its siblings."""
        try:
            await stream.run()
        except Exception:
            StreamLog(log, stream.name).exception("internal error")
        finally:
            del self._tasks[stream.name]
            if self._streams.get(stream.name) is not stream:
                self._removed(stream)

    def _removed(self, stream: Stream) -> None:
        self._forget(stream.name)
        self._notify(stream, "removed")

    def _notify(self, stream: Stream, change: Change) -> None:
        for watcher in tuple(self.watchers):
            watcher(stream, change)

    def _notify_zone(self, event: ZoneEvent) -> None:
        for watcher in tuple(self.zone_watchers):
            watcher(event)

    async def _keep(self) -> None:
        if self._kept is not None:
            await self._kept.save(self._added())

    def _added(self) -> dict[str, StreamConfig]:
        """By the API. Changes of the file's streams last until the next reload only."""
        return {name: stream.wanted for name, stream in self.items() if stream.origin is Origin.API}
