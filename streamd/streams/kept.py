"""The streams that the API has added, kept in a file across restarts."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from streamd.concurrency import threads
from streamd.concurrency.backoff import Backoff
from streamd.config.sections import StreamConfig
from streamd.streams.kept_file import Content, Entries, InUse, KeptFile, entry

log = logging.getLogger(__name__)

WAIT_S = 2.0
"""How long the start, or a change, waits for the disk; one that takes longer goes on by itself."""
FLUSH_S = 1.0
"""The same at the end."""
BACKOFF = Backoff(first_s=1.0, cap_s=60.0)
"""Between attempts that fail."""

Streams = Mapping[str, StreamConfig]
Adopt = Callable[[Streams], bool]
"""Takes streams that were read late, and calls ``want``. False: they shall stay in the file as they are."""


class KeptStreams:
    """Lives on the event loop. One task reads the file, then writes it as long as it differs from what is wanted,
    in threads, which a dead disk may hold."""

    def __init__(self, file: Path) -> None:
        self._file = KeptFile(file)
        self._wanted: Entries = {}
        self._named: set[str] = set()
        """Whatever was wanted before the file has been read: what it says of these is out of date."""
        self._left: Entries = {}
        """Entries of the file that are no streams here: written again as they are."""
        self._other: dict[str, Any] | None = None
        """What the file has beside streams. None: it has not been read, and so must not be written."""
        self._written: Entries | None = {}
        """What the file holds. None: a write runs or has failed, and nobody knows."""
        self._loaded: asyncio.Future[Streams] | None = None
        self._adopt: Adopt = lambda streams: False
        self._task: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        """Something else is wanted, or it is the end."""
        self._tried = asyncio.Event()
        """Replaced after each attempt."""
        self._error = ""
        """Why the last attempt failed, as it was logged."""
        self._in_use = self._failed = self._closing = False

    async def load(self, adopt: Adopt | None = None) -> Streams:
        """Once, at the start. What a slow disk gives only later goes to ``adopt`` on the event loop, save what has
        been changed meanwhile. Logs what is wrong."""
        self._adopt = adopt or self._adopt
        self._loaded = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run(), name="kept-streams")
        await asyncio.wait([self._loaded], timeout=WAIT_S)
        if not self._loaded.done():
            self._loaded.cancel()
            log.error("%s: the disk does not answer: going on without the streams that were kept", self._file.path)
        return {} if self._loaded.cancelled() else self._loaded.result()

    def want(self, streams: Streams) -> None:
        """These are to be on the disk, as soon as it can be."""
        self._wanted = {name: entry(config) for name, config in streams.items()}
        if self._other is None:
            self._named.update(streams)
        for name in streams:
            self._left.pop(name, None)
        self._failed = False
        self._wake.set()

    async def save(self, streams: Streams) -> None:
        """Returns when these are on the disk, or it failed, or took too long. Logs what is wrong."""
        self.want(streams)
        try:
            async with asyncio.timeout(WAIT_S):
                while not (self._is_written or self._failed or self._in_use):
                    await self._tried.wait()
        except TimeoutError:
            log.warning("%s: the disk is slow: a change of streams is not kept yet", self._file.path)

    async def close(self, within_s: float = FLUSH_S) -> None:
        """Writes what is wanted still. Another process may keep its streams here from now on, or when the disk has
        let go of us. Safe to repeat."""
        self._closing = True
        self._wake.set()
        try:
            if self._task is not None and not self._is_written:
                await asyncio.wait([self._task], timeout=within_s)
                if not (self._is_written or self._in_use):
                    log.error("%s: the last changes of streams are not kept", self._file.path)
        finally:
            if self._task is not None:
                self._task.cancel()
            self._file.release()

    # -- the task -------------------------------------------------------------------------------

    async def _run(self) -> None:
        """Until it is closed. When it is cancelled, ``threads.call`` abandons the thread."""
        delays = BACKOFF.start()
        while True:
            is_last = self._closing
            self._wake.clear()
            self._failed = not await self._attempt()
            if self._loaded is not None:
                self._loaded.cancel()  # ``load`` does not wait for the next attempt
            tried, self._tried = self._tried, asyncio.Event()
            tried.set()
            if self._in_use or is_last or (self._closing and not self._failed):
                return
            if not self._failed:
                delays = BACKOFF.start()
            with suppress(TimeoutError):
                async with asyncio.timeout(delays.after(0.0) if self._failed else None):
                    await self._wake.wait()

    async def _attempt(self) -> bool:
        """Logs an error once, however often it comes again."""
        try:
            await self._synchronise()
        except InUse:
            self._in_use = True
            self._take(Content())
            log.warning(
                "%s belongs to another streamd that runs: streams that the API adds are not kept", self._file.path
            )
        except OSError as error:
            reason = error.strerror or str(error)
            if reason != self._error:
                log.error("%s: streams that the API adds are not kept: %s", self._file.path, reason)
            self._error = reason
            return False
        except Exception:
            log.exception("%s: internal error", self._file.path)
            return False
        self._error = ""
        return True

    async def _synchronise(self) -> None:
        if self._other is None:
            self._take(await threads.call("kept-streams", self._file.read))
        while not self._is_written:
            content, self._written = self._content, None
            await threads.call("kept-streams", partial(self._file.write, content, self._other or {}))
            self._written = content

    def _take(self, found: Content) -> None:
        """What has been changed meanwhile wins."""
        self._other, self._written = found.other, found.entries
        self._left = {name: each for name, each in found.entries.items() if name not in self._named}
        streams = {name: config for name, config in found.streams.items() if name not in self._named}
        if self._loaded is not None and not self._loaded.done():
            self._loaded.set_result(streams)
            self._wanted = {name: entry(config) for name, config in streams.items()}
        elif self._closing or not streams or not self._adopt(streams):
            return
        for name in streams:
            self._left.pop(name, None)

    @property
    def _content(self) -> Entries:
        return {**self._left, **self._wanted}

    @property
    def _is_written(self) -> bool:
        """Before the file has been read: whether nothing has been changed."""
        return not self._named if self._other is None else self._content == self._written
