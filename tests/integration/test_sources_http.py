"""Video over HTTP: files end, live streams are lost, and each comes at its own pace."""

from __future__ import annotations

import contextlib
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import av
import pytest

from streamd.config.sections import StreamConfig
from streamd.errors import SourceEnded, SourceError, SourceRejected, SourceStalled, SourceUnreachable, SourceUnsupported
from streamd.sources import open_source
from streamd.sources.base import Source
from tests.support.clips import number_in, write_clip
from tests.support.fileserver import serve_file
from tests.support.waiting import scaled
from tests.unit.sources.peers import peer, sends

pytestmark = pytest.mark.timeout(30)

Answer = Callable[[BaseHTTPRequestHandler], None]


def source_of(url: str, stop: threading.Event | None = None, **config: Any) -> Source:
    return open_source(StreamConfig(source=url, **{"read_timeout_s": 2, **config}), stop or threading.Event())


def watch(source: Source, most: int = 10_000) -> tuple[list[int], list[float]]:
    """The numbers of the pictures, and when each came, s after the first."""
    with contextlib.closing(source.frames()) as frames:
        seen = [(number_in(frame), time.monotonic()) for frame in islice(frames, most)]
    return [number for number, _ in seen], [moment - seen[0][1] for _, moment in seen]


def assert_paced(times: list[float], fps: int) -> None:
    """Not in bursts; a busy machine may be late now and then."""
    assert times[-1] > (len(times) - 1) / fps - 0.1
    assert statistics.median(b - a for a, b in pairwise(times)) == pytest.approx(1 / fps, rel=0.3)


@contextlib.contextmanager
def serve(answer: Answer) -> Iterator[str]:
    """Gives the address; ``answer`` writes the whole answer to each GET."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with contextlib.suppress(OSError):
                answer(self)

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = False

        def get_request(self) -> tuple[socket.socket, Any]:
            connection, address = super().get_request()
            open_ones.append(connection)
            return connection, address

    open_ones: list[socket.socket] = []
    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        for connection in open_ones:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        server.server_close()
        thread.join()


@pytest.mark.parametrize("name", ["a.ts", "a.mp4", "a.mkv", "a.avi"])
def test_a_file_ends(tmp_path: Path, name: str) -> None:
    """Its duration is known, so the end is no loss."""
    with serve_file(write_clip(tmp_path / name, 30).read_bytes()) as server:
        assert watch(source_of(server.url, realtime=False))[0] == list(range(30))


def test_a_file_is_played_at_its_own_pace(tmp_path: Path) -> None:
    with serve_file(write_clip(tmp_path / "a.mp4", 20).read_bytes()) as server:
        _, times = watch(source_of(server.url))
    assert_paced(times, 25)


def test_stop_ends_the_wait_for_the_next_picture(tmp_path: Path) -> None:
    stop = threading.Event()
    clip = write_clip(tmp_path / "slow.mp4", 3, times_s=[0, 0.9, 1.8])
    with serve_file(clip.read_bytes()) as server:
        started = time.monotonic()
        for _ in source_of(server.url, stop).frames():
            stop.set()
    assert time.monotonic() - started < scaled(0.8)


@pytest.mark.parametrize("name", ["a.ts", "a.mkv"])
def test_a_file_whose_transfer_breaks_off_is_lost(tmp_path: Path, name: str) -> None:
    data = write_clip(tmp_path / name, 60, size=(640, 480)).read_bytes()
    with serve_file(data) as server:
        server.cut_after = [len(data) // 2] * 20
        with pytest.raises(SourceEnded, match="stopped sending"):
            watch(source_of(server.url, realtime=False))


def test_a_live_stream_that_ends_is_lost(tmp_path: Path) -> None:
    """No length, no duration."""
    data, seen = write_clip(tmp_path / "a.ts", 30).read_bytes(), list[int]()

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        request.wfile.write(data)

    with serve(answer) as address, pytest.raises(SourceEnded, match="stopped sending"):
        seen.extend(number_in(frame) for frame in source_of(f"http://{address}/live.ts").frames())
    assert seen == list(range(30))


def jpegs(tmp_path: Path, count: int) -> list[bytes]:
    with av.open(str(write_clip(tmp_path / "jpegs.avi", count, codec="mjpeg"))) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]


def motion_jpeg(pictures: list[bytes], every_s: float, then: Callable[[], object] = lambda: None) -> Answer:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        request.end_headers()
        for picture in pictures:
            head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
            request.wfile.write(head.encode() + picture + b"\r\n")
            time.sleep(every_s)  # a camera's beat
        then()

    return answer


def test_motion_jpeg_comes_as_it_is_filmed(tmp_path: Path) -> None:
    """FFmpeg gives it times of 25 pictures a second, whatever the camera does: paced by them, it would lag."""
    with serve(motion_jpeg(jpegs(tmp_path, 40), 0.01)) as address:
        seen: list[int] = []
        started = time.monotonic()
        with pytest.raises(SourceEnded, match="stopped sending"):
            seen.extend(number_in(frame) for frame in source_of(f"http://{address}/video.cgi").frames())
        assert time.monotonic() - started < scaled(40 / 25 - 0.3)
    assert seen == list(range(40))


def test_motion_jpeg_that_goes_silent_is_a_stall(tmp_path: Path) -> None:
    silence = threading.Event()
    with serve(motion_jpeg(jpegs(tmp_path, 10), 0, lambda: silence.wait(10))) as address:
        times: list[float] = []
        with pytest.raises(SourceStalled, match="went silent"):
            times.extend(time.monotonic() for _ in source_of(f"http://{address}/", read_timeout_s=0.6).frames())
        silence.set()
    assert len(times) >= 9
    assert 0.5 < time.monotonic() - times[-1] < scaled(1.6)


@pytest.fixture
def segments(tmp_path: Path) -> Path:
    """Three segments of 12 pictures, half a second each."""
    write_clip(tmp_path / "list.m3u8", 36, fps=24, options={"hls_time": "0.5", "hls_list_size": "0"})
    assert len(list(tmp_path.glob("*.ts"))) == 3
    return tmp_path


def files(folder: Path, *, ended: bool) -> Answer:
    def answer(request: BaseHTTPRequestHandler) -> None:
        path = folder / request.path.strip("/")
        if not path.exists():
            request.send_error(404)
            return
        body = path.read_bytes()
        if not ended:
            body = body.replace(b"#EXT-X-ENDLIST\n", b"")
        request.send_response(200)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body)

    return answer


def test_hls_of_a_finished_recording_is_paced_and_ends(segments: Path) -> None:
    with serve(files(segments, ended=True)) as address:
        numbers, times = watch(source_of(f"http://{address}/list.m3u8"))
    assert numbers == list(range(36))
    assert_paced(times, 24)


def test_live_hls_is_paced_and_its_silence_is_a_stall(segments: Path) -> None:
    """The camera's list does not grow any more."""
    seen: list[float] = []
    with serve(files(segments, ended=False)) as address, pytest.raises(SourceError) as caught:
        seen.extend(time.monotonic() for _ in source_of(f"http://{address}/list.m3u8", read_timeout_s=1.5).frames())
    assert caught.value.reason in ("went silent", "stopped sending")
    assert len(seen) >= 34  # FFmpeg holds the last ones back
    assert_paced([moment - seen[0] for moment in seen[:34]], 24)
    assert time.monotonic() - seen[-1] < scaled(2.5)


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (400, SourceUnreachable),
        (404, SourceUnreachable),
        (401, SourceRejected),
        (403, SourceRejected),
        (429, SourceUnreachable),
        (503, SourceUnreachable),
    ],
)
def test_what_a_server_refuses(status: int, error: type[SourceError]) -> None:
    with serve_file(b"no") as server:
        server.status = status
        with pytest.raises(error) as caught:
            watch(source_of(server.url))
    assert "Errno" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_page_is_no_video() -> None:
    with serve_file(b"<html>log in</html>" * 50) as server, pytest.raises(SourceUnsupported, match="sends a page"):
        watch(source_of(server.url))


def test_nobody_there() -> None:
    with pytest.raises(SourceUnreachable, match="connection refused"):
        watch(source_of("http://127.0.0.1:9/live"))


@pytest.mark.parametrize("every_s", [0.0, 0.05])
def test_an_answer_that_does_not_end(monkeypatch: pytest.MonkeyPatch, every_s: float) -> None:
    monkeypatch.setattr("streamd.sources.base.OPEN_TIMEOUT_S", 0.8)
    started = time.monotonic()
    with peer(sends(b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 5000, every_s)) as address, pytest.raises(SourceError):
        watch(source_of(f"http://{address}/", read_timeout_s=0.6))
    assert time.monotonic() - started < scaled(2.4)
