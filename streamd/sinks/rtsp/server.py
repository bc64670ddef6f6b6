"""Listens for RTSP readers, bounds their connections, and looks after them."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Callable

from streamd.errors import StreamdError
from streamd.sinks.rtsp.connection import READ_BYTES, Connection, Parts

LOOK_EVERY_S = 1.0
UNSENT_BYTES = 128 * 1024
"""What may wait in the system for one reader: the rest would be old when it arrives."""
_NOTSENT_LOWAT = getattr(socket, "TCP_NOTSENT_LOWAT", 25)  # Linux's number; Python names it from 3.12 on

log = logging.getLogger(__name__)


class RtspServer:
    """All RTSP readers of the daemon. Event loop only."""

    def __init__(self, parts: Parts, take_place: Callable[[str], Callable[[], None] | None]) -> None:
        """``take_place`` is asked for each connection, by its address: what gives the place back, or None."""
        self.address: tuple[str, int] = ("", 0)
        """Where it listens, once it does."""
        self._parts = parts
        self._take_place = take_place
        self._server: asyncio.Server | None = None
        self._looking: asyncio.Task[None] | None = None
        self._connections: dict[asyncio.Task[None], Connection] = {}

    @property
    def connections(self) -> int:
        return len(self._connections)

    async def listen(self, host: str, port: int) -> None:
        """Raises StreamdError when the address cannot be had."""
        try:
            self._server = await asyncio.start_server(self._accept, host, port, limit=READ_BYTES)
        except OSError as error:
            reason = error.strerror or str(error)
            if error.errno == errno.EADDRINUSE:
                reason = "the port is in use: choose another rtsp.listen"
            raise StreamdError(f"cannot listen for RTSP on {host}:{port}: {reason}") from None
        self.address = self._server.sockets[0].getsockname()[:2]
        self._looking = asyncio.create_task(self._look(), name="rtsp-readers")
        log.info("RTSP at rtsp://%s:%d/NAME/VIEW", f"[{host}]" if ":" in host else host, self.address[1])

    async def close(self) -> None:
        """Ends all sessions; no reader gets in any more. Safe to repeat."""
        tasks = [*self._connections, *([self._looking] if self._looking is not None else [])]
        if self._server is not None:
            self._server.close()
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("peername")
        give_back = self._take_place(peer[0]) if peer and self._server and self._server.is_serving() else None
        if give_back is None:
            log.warning("an RTSP connection was refused: %d are open, or its address has too many", self.connections)
            writer.transport.abort()
            return
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, _NOTSENT_LOWAT, UNSENT_BYTES)
        connection = Connection(reader, writer, self._parts)
        task = asyncio.create_task(connection.run(), name="rtsp-connection")
        self._connections[task] = connection

        def gone(task: asyncio.Task[None]) -> None:
            give_back()
            connection.end("closed")
            del self._connections[task]
            if not task.cancelled() and (error := task.exception()) is not None:
                log.error("internal error in an RTSP connection", exc_info=error)

        task.add_done_callback(gone)

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            for connection in tuple(self._connections.values()):
                connection.look()
