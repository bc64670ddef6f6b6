"""Checks of the doctor, run on their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from streamd.concurrency import threads
from streamd.config.load import parse
from streamd.doctor.finding import Check, Finding

SECRET = "hunter2"


def found(check: Check, **config: Any) -> list[Finding]:
    return list(check(parse(config)))


def only(check: Check, **config: Any) -> Finding:
    (finding,) = found(check, **config)
    return finding


@contextmanager
def serving(body: bytes) -> Iterator[int]:
    """A web server that says the same to all."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threads.start("serving", lambda: server.serve_forever(poll_interval=0.02))
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()
