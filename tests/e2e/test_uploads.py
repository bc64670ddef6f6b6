"""What strangers may send to POST /api/v1/depth, and ask of /recordings: refused or answered within bounds of
time and memory, while the stream of the same daemon goes on."""

from __future__ import annotations

import http.client
import re
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

from tests.e2e.conftest import StartDaemon
from tests.e2e.pictures import read
from tests.e2e.processes import Answer, Daemon, resident_mb
from tests.support import bombs
from tests.support.bombs import photo, saved
from tests.support.waiting import until

SOURCE, NAME = "lavfi:testsrc2=size=320x180:rate=10", "lavfi-testsrc2"
MIB = 2**20
DEPTH = "/api/v1/depth"
GROWTH_MB = 350
"""By which the daemon may grow, whatever it is sent. One picture of 25 megapixels at work takes most of it."""
BACK_MB = 150
"""What may be left of that: glibc keeps some for the next."""
PAUSE_S = 5.0
"""The stream may stutter while a large picture is worked on, but not stand still."""
ANSWER_S = 20.0
"""The machine may be busy; an answer takes a second."""
JPEG = saved(photo(), "JPEG", quality=90)


class Guard:
    """Looks at a daemon's memory and at what it publishes, all the time."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.base_mb = resident_mb(daemon.pid)
        self.peak_mb = self.base_mb
        self.pictures: list[float] = []
        """When each came that was another than the one before."""
        self._stop = threading.Event()
        self._watchers = [threading.Thread(target=watch) for watch in (self._measure, self._poll)]

    def start(self) -> None:
        for watcher in self._watchers:
            watcher.start()
        until("there is a picture", lambda: self.pictures)

    def stop(self) -> None:
        self._stop.set()
        for watcher in self._watchers:
            watcher.join()

    def _measure(self) -> None:
        while not self._stop.wait(0.01):
            self.peak_mb = max(self.peak_mb, resident_mb(self.daemon.pid))

    def _poll(self) -> None:
        """As a viewer."""
        connection = http.client.HTTPConnection(urlsplit(self.daemon.url).netloc, timeout=30)
        connection.request("GET", f"/api/v1/streams/{NAME}/mjpeg?fps=5")
        response, jpeg = connection.getresponse(), b""
        while not self._stop.is_set() and (line := response.readline()):
            if line.startswith(b"Content-Length: "):
                jpeg, before = response.read(int(line.split()[1]) + 2), jpeg
                if jpeg != before:
                    self.pictures.append(time.monotonic())
        connection.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is recorded to, with a secret beside it and links to that."""
    folder = tmp_path_factory.mktemp("uploads") / "recordings"
    outside = folder.parent / "outside"
    for made in (folder / "porch", outside):
        made.mkdir(parents=True)
    (outside / "secret.mp4").write_bytes(b"TOP SECRET")
    (outside / FILE).write_bytes(b"TOP SECRET")
    (folder / "porch" / FILE).symlink_to(outside / "secret.mp4")
    (folder / "linked").symlink_to(outside, target_is_directory=True)
    (folder / "porch" / "note.txt").write_bytes(b"TOP SECRET")
    (folder / "porch" / REAL).write_bytes(b"a recording")
    return folder


FILE, REAL = "2026-01-02T03-04-05.678Z-depth.mp4", "2026-01-02T03-04-06.678Z-depth.mp4"


@pytest.fixture(scope="module")
def guard(module_daemon: StartDaemon, folder: Path) -> Iterator[Guard]:
    record = {f"STREAMD_STREAMS__{NAME}__RECORD": "[]", "STREAMD_RECORDING__DIRECTORY": str(folder)}
    daemon = module_daemon(SOURCE, **record).until_ready()
    # What the first picture loads for good is no growth.
    assert send(daemon, saved(photo(2000, 1500), "PNG")).status == 200
    guard = Guard(daemon)
    guard.start()
    try:
        yield guard
    finally:
        guard.stop()


@pytest.fixture
def site(guard: Guard) -> Iterator[Daemon]:
    """For one test, which must leave the daemon as it was."""
    guard.peak_mb = resident_mb(guard.daemon.pid)
    yield guard.daemon
    grown = guard.peak_mb - guard.base_mb
    assert grown < GROWTH_MB, f"grew by {grown:.0f} MB"
    until("the memory is given back", lambda: resident_mb(guard.daemon.pid) < guard.base_mb + BACK_MB)


def send(site: Daemon, body: bytes, query: str = "", media_type: str = "application/octet-stream") -> Answer:
    began = time.monotonic()
    answer = site.request("POST", DEPTH + query, body, {"Content-Type": media_type})
    assert time.monotonic() - began < ANSWER_S
    return answer


def too_many_pixels(answer: Answer) -> bool:
    return answer.error == (422, "bad_picture") and "more than 25 million pixels" in answer.text


@pytest.mark.parametrize(
    "bomb",
    [
        pytest.param(lambda: bombs.png(30000, 30000, 1), id="900 megapixels of one bit as PNG"),
        pytest.param(lambda: bombs.png(10000, 10000), id="100 megapixels as PNG"),
        pytest.param(lambda: bombs.gif(65535, 65535), id="GIF"),
        pytest.param(lambda: bombs.webp(16383, 16383), id="WebP"),
        pytest.param(lambda: bombs.bmp(60000, 60000), id="BMP"),
        pytest.param(lambda: bombs.tiff(60000, 60000), id="TIFF"),
        pytest.param(lambda: bombs.jpeg_that_says(65000, 65000, JPEG), id="JPEG"),
    ],
)
def test_decompression_bombs(site: Daemon, bomb: Callable[[], bytes]) -> None:
    data = bomb()
    assert len(data) < MIB
    assert too_many_pixels(send(site, data))


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(bombs.SVG, id="SVG"),
        pytest.param(b"", id="nothing"),
        pytest.param(b"\xff\xd8\xff", id="three bytes of JPEG"),
        pytest.param(saved(photo(), "PNG")[:60], id="PNG without a picture"),
        pytest.param(saved(photo(), "JPEG2000"), id="JPEG 2000"),
        pytest.param(b"PK\x03\x04" + bytes(1000), id="an archive"),
    ],
)
def test_no_pictures(site: Daemon, data: bytes) -> None:
    assert send(site, data).error == (422, "bad_picture")


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(JPEG[: len(JPEG) // 2], id="half a JPEG"),
        pytest.param(bombs.jpeg_that_says(5000, 5000, JPEG), id="JPEG that has less than it says"),
        pytest.param(bombs.jpeg_that_says(64, 48, JPEG), id="JPEG that has more than it says"),
        pytest.param(bombs.with_exif(JPEG, bombs.orientation(99)), id="turned by what does not exist"),
        pytest.param(bombs.with_exif(JPEG, bombs.EXIF_THAT_LOOPS), id="EXIF that loops"),
        pytest.param(bombs.with_exif(JPEG, bombs.EXIF_OUT_OF_BOUNDS), id="EXIF out of bounds"),
        pytest.param(bombs.with_exif(JPEG, bombs.EXIF_OF_MANY), id="EXIF without an end"),
        pytest.param(bombs.webp(5000, 5000), id="WebP without data"),
        pytest.param(bombs.gif(5000, 5000), id="GIF without data"),
        pytest.param(bombs.tiff(5000, 5000), id="TIFF without data"),
    ],
)
def test_damaged_ones_are_answered_or_refused(site: Daemon, data: bytes) -> None:
    answer = send(site, data)
    if answer.status != 200:
        assert answer.error == (422, "bad_picture")


@pytest.mark.parametrize(
    ("data", "size"),
    [
        pytest.param(saved(photo(), "JPEG", "CMYK"), (480, 640), id="CMYK"),
        pytest.param(bombs.png(640, 480, 16), (480, 640), id="16 bits"),
        pytest.param(saved(photo(), "PNG", "1"), (480, 640), id="1 bit"),
        pytest.param(saved(photo(), "PNG", "RGBA"), (480, 640), id="transparent"),
        pytest.param(saved(photo(), "PNG", "P"), (480, 640), id="palette"),
        pytest.param(saved(photo(), "JPEG", progressive=True), (480, 640), id="progressive"),
        pytest.param(bombs.animated("GIF"), (480, 640), id="moving GIF"),
        pytest.param(bombs.animated("WEBP"), (480, 640), id="moving WebP"),
        pytest.param(bombs.animated("PNG"), (480, 640), id="moving PNG"),
        pytest.param(bombs.with_exif(JPEG, bombs.orientation(6)), (640, 480), id="on its side"),
        pytest.param(bombs.with_exif(JPEG, bombs.orientation(3)), (480, 640), id="upside down"),
        pytest.param(saved(photo(4000, 2), "PNG"), (2, 4000), id="a line"),
    ],
)
def test_odd_ones_are_answered(site: Daemon, data: bytes, size: tuple[int, int]) -> None:
    answer = send(site, data, "?view=source")
    assert answer.status == 200, answer.text
    assert read(answer.body).shape == (*size, 3)


def test_a_single_pixel(site: Daemon) -> None:
    answer = send(site, saved(photo(1, 1), "PNG"))
    assert answer.error == (422, "bad_picture")
    assert "too small: 1x1" in answer.text


@pytest.mark.parametrize("media_type", ["application/json", "text/html", "video/mp4", "multipart/mixed; boundary=x"])
def test_wrong_types(site: Daemon, media_type: str) -> None:
    assert send(site, JPEG, media_type=media_type).error == (415, "wrong_type")


LARGEST = (5792, 4344)
"""25.2 million pixels, as many as there may be."""


def test_the_largest_that_is_taken(site: Daemon) -> None:
    """Noise, so that the answer is large too; the picture is a form's field."""
    coarse = np.random.default_rng(0).integers(0, 256, (LARGEST[1] // 8, LARGEST[0] // 8, 3), dtype=np.uint8)
    jpeg = saved(coarse.repeat(8, axis=0).repeat(8, axis=1), "JPEG", quality=80)
    form = b'--B\r\nContent-Disposition: form-data; name="image"\r\n\r\n' + jpeg + b"\r\n--B--\r\n"
    answer = send(site, form, media_type="multipart/form-data; boundary=B")
    assert answer.status == 200, answer.text
    assert read(answer.body).shape == (LARGEST[1], LARGEST[0], 3)
    assert send(site, jpeg, "?format=ply").error == (422, "bad_picture")
    assert too_many_pixels(send(site, bombs.png(LARGEST[0] + 8, LARGEST[1])))


def test_many_at_once(site: Daemon) -> None:
    """Of the bodies there are no more than 128 MB, and of pictures one is worked on."""
    body = JPEG + bytes(20 * MIB)
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: send(site, body), range(12)))
    statuses = [answer.status for answer in answers]
    assert set(statuses) == {200, 503}, statuses
    for answer in answers:
        if answer.status == 503:
            assert answer.error == (503, "busy")
            assert "Retry-After" in answer.headers
    assert send(site, JPEG).status == 200


# -- bodies that do not end -----------------------------------------------------------------------


@contextmanager
def posting(site: Daemon, *headers: str) -> Iterator[socket.socket]:
    with site.connect() as connection:
        lines = [f"POST {DEPTH} HTTP/1.1", "Host: 127.0.0.1", *headers, "", ""]
        connection.sendall("\r\n".join(lines).encode())
        yield connection


def poured(connection: socket.socket, piece: bytes, most: int) -> tuple[int, int]:
    """(bytes that could be sent until there was an answer, its status)."""
    sent = 0
    while sent < most:
        readable, writable, _ = select.select([connection], [connection], [], ANSWER_S)
        if readable:
            break
        assert writable, "neither takes nor answers"
        sent += connection.send(piece)
    answer = connection.recv(65536)
    found = re.match(rb"HTTP/1\.1 (\d{3}) ", answer)
    assert found, answer[:200]
    return sent, int(found[1])


GIGABYTE = 1000**3


def test_a_gigabyte(site: Daemon) -> None:
    """It is refused by what it says, before it is sent."""
    for kind in ("image/png", "multipart/form-data; boundary=B"):
        with posting(site, f"Content-Type: {kind}", f"Content-Length: {GIGABYTE}") as connection:
            sent, status = poured(connection, bytes(MIB), GIGABYTE)
        assert status == 413
        assert sent < 100 * MIB


def test_a_gigabyte_as_json(site: Daemon) -> None:
    """Elsewhere too."""
    with site.connect() as connection:
        head = "PUT /api/v1/streams/x HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        connection.sendall(f"{head}Content-Length: {GIGABYTE}\r\n\r\n".encode())
        sent, status = poured(connection, b" " * MIB, GIGABYTE)
    assert status == 413
    assert sent < 100 * MIB


def test_chunks_without_an_end(site: Daemon) -> None:
    piece = f"{MIB:x}\r\n".encode() + bytes(MIB) + b"\r\n"
    with posting(site, "Content-Type: image/png", "Transfer-Encoding: chunked") as connection:
        # select() may leave a piece half sent: only whole pieces are chunks.
        connection.settimeout(ANSWER_S)
        sent = 0
        while not select.select([connection], [], [], 0)[0] and sent < GIGABYTE:
            connection.sendall(piece)
            sent += MIB
        assert connection.recv(65536).startswith(b"HTTP/1.1 413 ")
    assert 30 * MIB < sent < 200 * MIB


def test_a_form_that_is_large(site: Daemon) -> None:
    """In chunks, and not in the field that counts."""
    head = b'--B\r\nContent-Disposition: form-data; name="other"\r\n\r\n'
    pieces = [head, *(bytes(MIB) for _ in range(60)), b"\r\n--B--\r\n"]
    body = b"".join(f"{len(piece):x}\r\n".encode() + piece + b"\r\n" for piece in pieces) + b"0\r\n\r\n"
    with posting(
        site, "Content-Type: multipart/form-data; boundary=B", "Transfer-Encoding: chunked", "Connection: close"
    ) as connection:
        connection.settimeout(ANSWER_S)
        connection.sendall(body)
        assert connection.recv(65536).startswith(b"HTTP/1.1 422 ")


def test_those_who_are_slow_are_in_nobodys_way(site: Daemon) -> None:
    """A hundred of them, each with a little more from time to time; integration tests see that they are let go."""
    with ThreadPoolExecutor(1) as pool:
        slow = [site.connect() for _ in range(100)]
        try:
            for connection in slow:
                connection.sendall(
                    f"POST {DEPTH} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                    "Content-Type: image/png\r\nContent-Length: 1000000\r\n\r\n".encode()
                )
            other = pool.submit(send, site, JPEG)
            while not other.done():
                for connection in slow:
                    connection.send(b"\x89")
                time.sleep(0.05)
            assert other.result().status == 200
            assert not select.select(slow, [], [], 0)[0], "refused too early"
        finally:
            for connection in slow:
                connection.close()
    assert send(site, JPEG).status == 200


# -- paths out of the recordings ------------------------------------------------------------------


def test_a_recording_can_be_had(site: Daemon) -> None:
    """Else the next test shows nothing."""
    assert site.get(f"/recordings/porch/{REAL}").body == b"a recording"


@pytest.mark.parametrize(
    "path",
    [
        "../outside/secret.mp4",
        "..%2foutside%2fsecret.mp4",
        "..%2Foutside/secret.mp4",
        "%2e%2e/outside/secret.mp4",
        "%2e%2e%2foutside%2fsecret.mp4",
        "%252e%252e%252foutside%252fsecret.mp4",
        "porch/../../outside/secret.mp4",
        f"porch/..%2f..%2foutside%2f{FILE}",
        f"..%2foutside/{FILE}",
        "..%5coutside%5csecret.mp4",
        "..\\outside\\secret.mp4",
        "%c0%ae%c0%ae%c0%afoutside%c0%afsecret.mp4",
        "..%ef%bc%8foutside%ef%bc%8fsecret.mp4",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "{outside}/secret.mp4",
        f"%2f{{outside}}/{FILE}",
        f"porch/{FILE}",
        f"linked/{FILE}",
        "linked/secret.mp4",
        "porch/note.txt",
        "porch/",
        "porch",
        ".",
        f"porch/{REAL}%00",
        f"porch/%00/{REAL}",
        f"porch/{REAL}%00.txt",
        f"porch/{REAL}/",
        f"porch//{REAL}",
        f"./porch%2f.%2f{REAL}",
        f"porch/{REAL}%0a",
        "porch/" + "a" * 5000,
        "~root/secret.mp4",
    ],
)
def test_no_way_out(site: Daemon, folder: Path, path: str) -> None:
    """Sent as it is, without what clients do to a path."""
    target = "/recordings/" + path.replace("{outside}", str(folder.parent / "outside"))
    for method in ("GET", "HEAD"):
        with site.connect() as connection:
            connection.sendall(f"{method} {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n".encode())
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 404 "), answer[:300]
        assert b"SECRET" not in answer
        assert b"a recording" not in answer


def test_the_log_has_no_fault_of_ours(site: Daemon) -> None:
    """After all of that: a client that goes is none either."""
    assert " ERROR " not in site.log, site.log


def test_the_stream_has_gone_on_all_the_time(guard: Guard) -> None:
    pauses = np.diff([*guard.pictures, time.monotonic()])
    assert pauses.max() < PAUSE_S
    assert guard.daemon.state(NAME) == "running"


def test_gigabytes_of_zeros_in_megabytes(guard: Guard) -> None:
    """Anybody may send a body to anything. The last test: the stream suffers, too."""
    packed = bombs.gzip_of_zeros(8000)
    assert len(packed) < 10 * MIB
    head = "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Encoding: gzip\r\n"
    with guard.daemon.connect() as connection:
        began = time.monotonic()
        connection.settimeout(30)
        connection.sendall(f"{head}Content-Length: {len(packed)}\r\n\r\n".encode() + packed)
        assert guard.daemon.get("/healthz").status == 200
        assert time.monotonic() - began < 2
