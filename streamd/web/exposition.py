"""/metrics, as prometheus_client writes it."""

from __future__ import annotations

import asyncio
from functools import partial

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from streamd.concurrency import threads

MAX_WAITING = 8
CLOSE_S = 1.0


class Exposition:
    """Written in a thread of its own: the 2,300 series of 16 streams take some 20 ms, which the event loop has not."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry
        self._writer: threads.SerialExecutor | None = None
        """Started for the first scrape."""

    async def answer(self, accept: str) -> tuple[bytes, str]:
        """The body and its Content-Type, for an ``Accept`` header. Raises Busy."""
        encode, content_type = choose_encoder(accept)
        self._writer = self._writer or threads.SerialExecutor("exposition", capacity=MAX_WAITING, calls="scrapes")
        body: bytes = await asyncio.wrap_future(self._writer.submit(partial(encode, self._registry)))
        return body, content_type

    async def clean_up(self, app: web.Application) -> None:
        if self._writer is not None:
            await self._writer.leave(CLOSE_S)
