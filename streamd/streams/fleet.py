"""All streams of the daemon: added, changed and removed one by one, while the others go on."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import MappingProxyType
from typing import Literal

from streamd.config.sections import StreamConfig
from streamd.streams.stream import Stream
from streamd.telemetry.logs import StreamLog

log = logging.getLogger(__name__)

Change = Literal["added", "state", "removed"]


class Fleet(Mapping[str, Stream]):
    """Lives on the event loop. What it is asked for before ``run`` begins with it."""

    def __init__(
        self,
        make: Callable[[str, StreamConfig], Stream],
        forget: Callable[[str], None],
        configured: Mapping[str, StreamConfig] = MappingProxyType({}),
    ) -> None:
        """``forget`` is told the name of a stream that has been removed."""
        self._make = make
        self._forget = forget
        self._streams: dict[str, Stream] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._group: asyncio.TaskGroup | None = None
        self._configured = set(configured)
        self.watchers: set[Callable[[Stream, Change], None]] = set()
        """Called on the event loop at once when a stream changes: must not block, nor raise."""
        for name, config in configured.items():
            self.put(name, config)

    def __getitem__(self, name: str) -> Stream:
        return self._streams[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._streams)

    def __len__(self) -> int:
        return len(self._streams)

    async def run(self, stop: asyncio.Event) -> None:
        """Until ``stop``; then all streams end, at the same time."""
        async with asyncio.TaskGroup() as self._group:
            for stream in self._streams.values():
                self._start(stream)
            await stop.wait()
            for stream in self._streams.values():
                stream.stop()

    def put(self, name: str, config: StreamConfig) -> bool:
        """Adds a stream, or changes the one of that name. Whether it is new."""
        stream = self._streams.get(name)
        if stream is None:
            stream = self._streams[name] = self._make(name, config)
            stream.on_change = partial(self._tell, stream, "state")
            self._tell(stream, "added")
            if self._group is not None:
                self._start(stream)
            return True
        stream.reconfigure(config)
        return False

    async def remove(self, name: str) -> None:
        """Returns when nothing of it is left: files complete, viewers gone. Raises KeyError."""
        stream = self._streams.pop(name)
        stream.stop()
        if task := self._tasks.pop(name, None):
            await asyncio.wait([task])
        if name not in self._streams:
            self._forget(name)
        self._tell(stream, "removed")

    async def apply(self, wanted: Mapping[str, StreamConfig]) -> None:
        """Brings what the configuration file names in line with it. Streams that the API added stay."""
        gone = self._configured - set(wanted)
        self._configured = set(wanted)
        for name, config in wanted.items():
            self.put(name, config)
        for name in gone & set(self._streams):
            StreamLog(log, name).info("no longer configured")
            await self.remove(name)

    def _start(self, stream: Stream) -> None:
        assert self._group is not None
        self._tasks[stream.name] = self._group.create_task(self._attend(stream), name=f"stream-{stream.name}")

    async def _attend(self, stream: Stream) -> None:
        """A stream's failure never touches its siblings."""
        try:
            await stream.run()
        except Exception:
            StreamLog(log, stream.name).exception("internal error")

    def _tell(self, stream: Stream, change: Change) -> None:
        for watcher in tuple(self.watchers):
            watcher(stream, change)
