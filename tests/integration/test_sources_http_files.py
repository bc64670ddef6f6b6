"""Files on web servers: with ranges, without, and with servers that are not what they say."""

from __future__ import annotations

import gzip
import re
import subprocess
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from streamd.config.sections import StreamConfig
from streamd.errors import SourceEnded, SourceError, SourceUnsupported
from streamd.sources import open_source
from tests.support.clips import number_in, write_clip
from tests.support.waiting import scaled

pytestmark = pytest.mark.timeout(30)
COUNT = 30
PADDING = 16_000_000
PIECE = 64_000
CANNOT_SKIP = r"the server cannot skip \(no byte ranges\): make the file with its index first"


@dataclass
class Site:
    """A server with one file and odd answers to ``Range``."""

    content: bytes
    headers: dict[str, str] = field(default_factory=dict)
    knows_range: bool = False
    from_begin: bool = False
    """Answers 206 with the whole, whatever was asked for."""
    refuses_from_begin: bool = False
    """Answers 416 when asked for all."""
    has_length: bool = True
    false_length: int | None = None
    packed: bytes | None = None
    """Sent instead."""
    sent: int = 0
    """Bytes of bodies."""
    asked: list[str | None] = field(default_factory=list)
    url: str = ""

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        wanted = request.headers.get("Range")
        self.asked.append(wanted)
        start = int(re.sub(r"\D", "", wanted.partition("-")[0])) if wanted and self.knows_range else 0
        if wanted == "bytes=0-" and self.refuses_from_begin:
            request.send_error(416)
            return
        body = self.packed if self.packed is not None else self.content[start:]
        partial = wanted and (self.knows_range or self.from_begin)
        request.send_response(206 if partial else 200)
        if partial:
            request.send_header("Content-Range", f"bytes {start}-{len(self.content) - 1}/{len(self.content)}")
        if self.has_length:
            request.send_header("Content-Length", str(self.false_length or len(body)))
        for name, value in self.headers.items():
            request.send_header(name, value)
        request.end_headers()
        with suppress(OSError):
            for at in range(0, len(body), PIECE):
                request.wfile.write(body[at : at + PIECE])
                self.sent += len(body[at : at + PIECE])


@contextmanager
def serve(site: Site) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.answer(self)

        def do_HEAD(self) -> None:
            self.send_error(405)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/a"
        finally:
            server.shutdown()
            thread.join()


def watch(url: str, **settings: Any) -> list[int]:
    config = StreamConfig(source=url, **{"read_timeout_s": 2, "realtime": False, **settings})
    return [number_in(frame) for frame in open_source(config, threading.Event()).frames()]


@pytest.fixture(params=["a.mp4", "a.mov"])
def index_last(tmp_path: Path, request: pytest.FixtureRequest) -> bytes:
    data = write_clip(tmp_path / request.param, COUNT, size=(1280, 720), gop=1).read_bytes()
    index = data.index(b"moov") - 4
    assert data.index(b"mdat") < index
    return data[:index] + PADDING.to_bytes(4) + b"free" + bytes(PADDING - 8) + data[index:]


def index_first(path: Path) -> bytes:
    return write_clip(path, COUNT, options={"movflags": "+faststart"}).read_bytes()


LIES = {"Accept-Ranges": "bytes"}


@pytest.mark.parametrize(
    "server", [{}, {"headers": LIES}, {"from_begin": True}, {"headers": {"Accept-Ranges": "none"}}]
)
def test_an_index_at_the_end_needs_a_server_that_can_skip(
    index_last: bytes, server: dict[str, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    """It is not fetched as a whole to find that out."""
    site = Site(index_last, **server)
    with serve(site) as url, pytest.raises(SourceUnsupported, match=CANNOT_SKIP) as caught:
        watch(url)
    assert "ffmpeg -movflags +faststart" in str(caught.value)
    assert len(site.asked) <= 3
    assert site.sent < len(site.asked) * PADDING / 2
    assert "being dropped" not in capfd.readouterr().err, "PyAV prints all errors of a read but one"


@pytest.mark.parametrize("server", [{"knows_range": True}, {"knows_range": True, "headers": LIES}])
def test_an_index_at_the_end_is_fetched_first(index_last: bytes, server: dict[str, Any]) -> None:
    with serve(Site(index_last, **server)) as url:
        assert watch(url) == list(range(COUNT))


@pytest.mark.parametrize("name", ["a.mp4", "a.ts", "a.mkv", "a.avi", "a.flv"])
@pytest.mark.parametrize(
    "server",
    [{}, {"headers": LIES}, {"from_begin": True}, {"knows_range": True}, {"refuses_from_begin": True}],
    ids=["none", "lies", "always the whole", "honest", "refuses all"],
)
def test_a_file_is_played_to_its_end_whatever_the_server(tmp_path: Path, name: str, server: dict[str, Any]) -> None:
    """And has ended then."""
    data = index_first(tmp_path / name) if name == "a.mp4" else write_clip(tmp_path / name, COUNT).read_bytes()
    with serve(Site(data, **server)) as url:
        assert watch(url) == list(range(COUNT))


@pytest.mark.parametrize("name", ["a.ts", "a.flv", "a.mkv"])
def test_live_video_that_ends_is_lost(tmp_path: Path, name: str) -> None:
    """No length, or none to believe, and no duration in it."""
    clip, live = write_clip(tmp_path / name, COUNT), tmp_path / f"live-{name}"
    options = ["-live", "1"] if name == "a.mkv" else ["-flvflags", "no_duration_filesize"] if name == "a.flv" else []
    command = ["/usr/bin/ffmpeg", "-v", "error", "-i", str(clip), "-c", "copy", *options, str(live)]
    subprocess.run(command, check=True, timeout=scaled(20))
    lengths: list[dict[str, Any]] = [{"has_length": False}, {"false_length": (1 << 63) - 1}]
    for length in lengths:
        with serve(Site(live.read_bytes(), **length)) as url, pytest.raises(SourceEnded, match="stopped sending"):
            watch(url)


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "deflate"])
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_what_is_compressed_without_being_asked_for(tmp_path: Path, name: str, encoding: str) -> None:
    data = index_first(tmp_path / name)
    packed = zlib.compress(data) if encoding == "deflate" else gzip.compress(data)
    with serve(Site(data, packed=packed, headers={"Content-Encoding": encoding, **LIES})) as url:
        assert watch(url) == list(range(COUNT))


@pytest.mark.parametrize("packed", [b"no gzip", gzip.compress(bytes(1 << 20))[:500], b""])
def test_what_is_not_compressed_as_it_says(packed: bytes) -> None:
    with serve(Site(b"", packed=packed, headers={"Content-Encoding": "gzip"})) as url, pytest.raises(SourceError):
        watch(url)
