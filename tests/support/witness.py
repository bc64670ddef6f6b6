"""A viewer who remembers what was shown, and when."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import pairwise

import aiohttp
import av
from aiortc.mediastreams import MediaStreamError

from tests.e2e.processes import Daemon
from tests.e2e.viewer import Viewer
from tests.support.camera import shows_bars
from tests.support.waiting import until_async


@dataclass(frozen=True)
class Seen:
    """One picture."""

    at: float
    pts: int
    size: tuple[int, int]
    bars: bool
    """Whether it is the camera's; without a camera that shows them, nothing is."""


class Witness(Viewer):
    def __init__(self, client: aiohttp.ClientSession, url: str) -> None:
        super().__init__(client, url)
        self.seen: list[Seen] = []

    async def _watch(self) -> None:
        try:
            while True:
                picture = await self._receiver.track.recv()
                assert isinstance(picture, av.VideoFrame)
                assert picture.pts is not None
                size = (picture.width, picture.height)
                self.seen.append(Seen(time.monotonic(), picture.pts, size, shows_bars(picture)))
                self.frames += 1
                self.first_frame_at = self.first_frame_at or self.seen[0].at
        except MediaStreamError:
            pass

    async def close(self) -> None:
        """Safe to repeat, also when the daemon has gone since."""
        await super().close()
        self.session = ""

    async def waits_for(
        self, what: str, right: Callable[[Seen], bool], within_s: float, *, since: float | None = None
    ) -> Seen:
        """The first such picture from now, or from ``since``."""
        since = time.monotonic() if since is None else since

        async def found() -> Seen | None:
            return next((seen for seen in self.seen if seen.at >= since and right(seen)), None)

        seen = await until_async(what, found, within_s)
        assert seen is not None
        return seen

    def times_go_on(self) -> bool:
        """Whether no picture is older than the one before it."""
        return all(before.pts < after.pts for before, after in pairwise(self.seen))


Join = Callable[..., Awaitable[Witness]]
"""``await join(daemon, stream, view)``"""


@asynccontextmanager
async def witnesses() -> AsyncIterator[Join]:
    """All leave with the context."""
    joined: list[Witness] = []
    async with aiohttp.ClientSession() as client:

        async def join(daemon: Daemon, stream: str, view: str = "source") -> Witness:
            one = Witness(client, f"{daemon.url}whep/{stream}?view={view}")
            joined.append(one)
            await one.join()
            return one

        try:
            yield join
        finally:
            await asyncio.gather(*(one.close() for one in joined))
