"""A TCP relay that can fall silent with its connections open, as a cable that is pulled, or a NAT that forgets."""

from __future__ import annotations

import select
import socket
import threading
from types import TracebackType

_POLL_S = 0.01


class Relay:
    """To a port of 127.0.0.1, from ``port``. A context manager."""

    def __init__(self, target_port: int) -> None:
        self._target_port = target_port
        self.silent = False
        """Nothing arrives any more, nobody is told, and new connections are as silent."""
        self._peers: dict[socket.socket, socket.socket] = {}
        self._stop = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._thread = threading.Thread(target=self._run, name="relay")

    def __enter__(self) -> Relay:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        for end in (self._listener, *self._peers):
            end.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            if self.silent:
                self._stop.wait(_POLL_S)
                continue
            for end in select.select([self._listener, *self._peers], [], [], _POLL_S)[0]:
                self._take(end)

    def _take(self, end: socket.socket) -> None:
        if end is self._listener:
            client, server = end.accept()[0], socket.create_connection(("127.0.0.1", self._target_port))
            self._peers |= {client: server, server: client}
        elif end in self._peers:  # not closed by its peer just now
            try:
                data = end.recv(1 << 16)
                self._peers[end].sendall(data)
            except OSError:
                data = b""
            if not data:
                for each in (end, self._peers.pop(end)):
                    self._peers.pop(each, None)
                    each.close()
