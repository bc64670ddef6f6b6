"""An HTTP server with one file and the faults of real ones, on a free port of 127.0.0.1."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class FileServer:
    """Change the fields between requests."""

    content: bytes
    etag: str = '"v1"'
    cut_after: list[int] = field(default_factory=list)
    """How many bytes the next answers send before the line goes dead; then all of them whole."""
    knows_range: bool = True
    status: int = 200
    requests: list[tuple[str | None, int]] = field(default_factory=list)
    """(Range asked for, status answered)."""
    url: str = ""


@contextmanager
def serve_file(content: bytes) -> Iterator[FileServer]:
    file = FileServer(content)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            _answer(self, file)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    file.url = f"http://127.0.0.1:{server.server_port}/releases/weights.pt"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield file
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _answer(handler: BaseHTTPRequestHandler, file: FileServer) -> None:
    asked = handler.headers.get("Range")
    start = int(re.sub(r"\D", "", asked)) if asked else 0
    same = handler.headers.get("If-Range") in (None, file.etag)
    partial = bool(asked) and file.knows_range and same
    start = start if partial else 0
    status = file.status if file.status != 200 else 206 if partial else 200
    if partial and start >= len(file.content):
        status = 416
    file.requests.append((asked, status))
    handler.send_response(status)
    body = file.content[start:] if status in (200, 206) else b""
    handler.send_header("Content-Length", str(len(body)))
    handler.send_header("ETag", file.etag)
    if status == 206:
        handler.send_header("Content-Range", f"bytes {start}-{len(file.content) - 1}/{len(file.content)}")
    handler.end_headers()
    if body and file.cut_after:
        body = body[: file.cut_after.pop(0)]
    with suppress(ConnectionError):  # the client had enough
        handler.wfile.write(body)
