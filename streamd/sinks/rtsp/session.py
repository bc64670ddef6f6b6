"""What one reader has set up and plays, in one rendition and on one transport."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack

from streamd.media.hub import Subscription
from streamd.sinks.rtsp.rtp import RtpStream
from streamd.sinks.rtsp.transport import Transport
from streamd.sinks.watched import WatchableStream

STALLED_S = 15.0
"""A reader that takes nothing for this long by TCP is cut off."""
TIMEOUT_S = 60
"""One that plays by UDP has to show by then that it is there: a receiver report, or any request."""

log = logging.getLogger(__name__)


class Session:
    """Belongs to a connection, and ends with it. Event loop only."""

    def __init__(self, stream: WatchableStream, view: str, rtp: RtpStream, transport: Transport) -> None:
        self.id = secrets.token_hex(8)
        self.stream, self.view = stream, view
        self.rtp = rtp
        self.transport = transport
        self._playing: asyncio.Task[None] | None = None

    @property
    def playing(self) -> bool:
        return self._playing is not None and not self._playing.done()

    def play(self, seat: AbstractContextManager[None], on_end: Callable[[str], None]) -> None:
        """From the next keyframe. ``on_end`` is called with the reason when nothing more will come. Raises what
        taking the seat does, and StreamGone."""
        metrics = self.stream.metrics
        with ExitStack() as stack:
            stack.enter_context(seat)
            subscription = Subscription(self.stream.hub(self.view), on_drop=metrics.viewer_drops.inc)
            stack.callback(subscription.close)
            metrics.viewers(self.view, +1)
            stack.callback(metrics.viewers, self.view, -1)
            held = stack.pop_all()
        self._playing = asyncio.create_task(self._play(subscription, on_end), name=f"rtsp-{self.id[:6]}")
        self._playing.add_done_callback(lambda task: held.close())

    async def _play(self, subscription: Subscription, on_end: Callable[[str], None]) -> None:
        name, short, reason = self.stream.name, self.id[:6], "it left"
        log.info("%s: RTSP reader %s opened: %s by %s", name, short, self.view, self.transport.kind)
        try:
            while (packet := await subscription.get()) is not None:
                await self.transport.send(self.rtp, packet)
            reason = "the stream has gone"
            self.transport.goodbye(self.rtp.bye())
            on_end(reason)
        except OSError:
            reason = "the connection broke"
            on_end(reason)
        finally:
            log.info("%s: RTSP reader %s closed: %s", name, short, reason)

    async def pause(self) -> None:
        """Safe to repeat."""
        task, self._playing = self._playing, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def close(self) -> None:
        """Safe to repeat."""
        await self.pause()
        self.transport.close()
