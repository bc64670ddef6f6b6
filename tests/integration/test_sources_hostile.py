"""Cameras that would steer us: redirects and playlists that lead to other services."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import socket
import threading
import time
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

from streamd.config.sections import StreamConfig
from streamd.errors import SourceEnded, SourceError, SourceRejected, SourceStalled, SourceUnreachable, SourceUnsupported
from streamd.sources import open_source
from streamd.sources.budget import MIB
from streamd.sources.destinations import Network
from tests.support.clips import number_in, write_clip
from tests.support.site import Answer, Site, send, serve
from tests.support.stills import still_of
from tests.support.waiting import own_time, scaled
from tests.unit.sources.peers import peer

pytestmark = pytest.mark.timeout(40)


def redirect(to: str, status: int = 302) -> Answer:
    return lambda request: send(request, b"", status, Location=to)


def lists(text: str, folder: Path | None = None) -> Answer:
    """A camera whose playlist is ``text``."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        file = (folder or Path("/nowhere")) / request.path.strip("/")
        if request.path.startswith("/list.m3u8"):
            send(request, text.encode())
        elif file.is_file():
            send(request, file.read_bytes())
        else:
            send(request, b"", 404)

    return answer


def watch(url: str, **settings: Any) -> list[int]:
    source = open_source(
        StreamConfig(source=url, **{"read_timeout_s": 2, "realtime": False, **settings}), threading.Event()
    )
    return [number_in(frame) for frame in source.frames()]


@pytest.fixture
def trap() -> Iterator[Site]:
    """A service of this machine that no camera has a business with."""
    with serve(lambda request: send(request, b"secret")) as site:
        yield site
        assert site.asked == []


REFUSED = r"leads to .*refused"
HERE = [
    "http://127.0.0.1:{}/",
    "http://localhost:{}/",
    "http://127.0.0.2:{}/",
    "http://[::1]:{}/",
    "http://[::ffff:127.0.0.1]:{}/",
    "http://[::ffff:7f00:1]:{}/",
    "http://2130706433:{}/",
    "http://0x7f.1:{}/",
    "http://0177.0.0.1:{}/",
    "http://0:{}/",
    "http://0.0.0.0:{}/",
    "http://[::]:{}/",
    "http://user:password@127.0.0.1:{}/",
    "https://127.0.0.1:{}/",
    "//127.0.0.1:{}/",
    "HTTP://LOCALHOST:{}/",
]
ELSEWHERE = [
    "http://169.254.169.254/latest/meta-data/",
    "http://[fe80::1%25lo]/",
    "http://[fd00::1]/",
    "http://100.64.0.1/",
    "http://10.0.0.1/",
    "http://192.168.0.1/",
    "http://224.0.0.1/",
]
OTHER_PROTOCOLS = [
    "file:///etc/passwd",
    "rtsp://127.0.0.1:{}/",
    "gopher://127.0.0.1:{}/",
    "ftp://127.0.0.1:{}/",
    "tcp://127.0.0.1:{}",
]
PLAYLISTS = {
    "segment": "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{}x.ts\n",
    "later segment": "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\na.ts\n#EXTINF:2,\n{}x.ts\n",
    "key": '#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-KEY:METHOD=AES-128,URI="{}"\n#EXTINF:2,\na.ts\n',
    "map": '#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXT-X-MAP:URI="{}x.mp4"\n#EXTINF:2,\na.m4s\n',
    "variant": "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{}x.m3u8\n",
}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("to", [HERE[0], ELSEWHERE[0]])
def test_every_kind_of_redirect_is_refused(trap: Site, to: str, status: int) -> None:
    with (
        serve(redirect(to.format(trap.port), status)) as camera,
        pytest.raises(SourceRejected, match=REFUSED),
    ):
        watch(f"{camera.url}/video")


@pytest.mark.parametrize("to", HERE + ELSEWHERE + OTHER_PROTOCOLS)
def test_a_redirect_to_anywhere_is_refused(trap: Site, to: str) -> None:
    with serve(redirect(to.format(trap.port))) as camera, pytest.raises(SourceRejected, match=REFUSED):
        watch(f"{camera.url}/video")


@pytest.mark.parametrize("where", PLAYLISTS)
@pytest.mark.parametrize("to", [HERE[0], HERE[4], ELSEWHERE[0]])
def test_what_a_playlist_names_is_refused(tmp_path: Path, trap: Site, where: str, to: str) -> None:
    write_clip(tmp_path / "a.ts", 12)
    text = PLAYLISTS[where].format(to.format(trap.port))
    with serve(lists(text, tmp_path)) as camera, pytest.raises(SourceRejected, match=REFUSED):
        watch(f"{camera.url}/list.m3u8")


@pytest.mark.parametrize("where", ["segment", "map", "key"])
def test_a_segment_that_redirects_is_refused(trap: Site, where: str) -> None:
    text = PLAYLISTS[where].format("inner/")

    def answer(request: BaseHTTPRequestHandler) -> None:
        (lists(text) if request.path.startswith("/list") else redirect(f"{trap.url}/"))(request)

    with serve(answer) as camera, pytest.raises(SourceRejected, match=REFUSED):
        watch(f"{camera.url}/list.m3u8")


@pytest.mark.parametrize("to", OTHER_PROTOCOLS)
def test_a_segment_by_another_protocol_is_never_opened(
    tmp_path: Path, trap: Site, to: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamd.sources.base.OPEN_TIMEOUT_S", 1.0)
    with serve(lists(PLAYLISTS["segment"].format(to.format(trap.port)))) as camera, pytest.raises(SourceError):
        watch(f"{camera.url}/list.m3u8", read_timeout_s=1)


def test_a_session_description_opens_nothing(trap: Site) -> None:
    """FFmpeg would bind and send UDP where it says."""
    text = "v=0\no=- 1 1 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\n"
    text += f"m=video {trap.port} RTP/AVP 96\na=rtpmap:96 H264/90000\n"
    with serve(lambda request: send(request, text.encode())) as camera, pytest.raises(SourceError):
        watch(f"{camera.url}/live.sdp")


def test_a_list_of_files_opens_nothing(tmp_path: Path, trap: Site) -> None:
    clip = write_clip(tmp_path / "a.ts", 3)
    text = f"ffconcat version 1.0\nfile {clip}\n"
    with serve(lambda request: send(request, text.encode())) as camera, pytest.raises(SourceError):
        watch(f"{camera.url}/a")
    (tmp_path / "list.txt").write_text(text)
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\na.ts\n#EXT-X-ENDLIST\n")
    for name in ("list.txt", "list.m3u8"):
        with pytest.raises(SourceError):
            watch(str(tmp_path / name))


def test_a_name_that_means_another_machine_later(trap: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: the camera's own name, once it has been looked up, stays what it was."""
    answers = iter(["127.0.0.1"])
    real = socket.getaddrinfo
    looked_up: list[str] = []

    def look_up(host: str, port: int, **options: Any) -> Any:
        if host == "camera.test":
            looked_up.append(host)
            return real(next(answers), port, **options)
        return real(host, port, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    monkeypatch.setattr("streamd.sources.base.OPEN_TIMEOUT_S", 1.0)
    with serve(lists(PLAYLISTS["segment"].format(""))) as camera, pytest.raises(SourceError):
        watch(f"http://camera.test:{camera.port}/list.m3u8", read_timeout_s=1)
    assert looked_up == ["camera.test"]
    assert len(camera.asked) > 1


def test_the_way_round_in_a_circle_ends(trap: Site) -> None:
    with serve(redirect("/again")) as camera, pytest.raises(SourceUnreachable, match="redirects without end"):
        watch(f"{camera.url}/video")
    assert len(camera.asked) == 9


@pytest.mark.parametrize(
    "to", ["/a.ts", "a.ts", "?again", "http://127.0.0.1:{}/a.ts", "http://localhost:{}/a.ts", " /a.ts"]
)
def test_a_redirect_within_the_camera_is_followed(tmp_path: Path, to: str) -> None:
    clip = write_clip(tmp_path / "a.mkv", 12).read_bytes()

    def answer(request: BaseHTTPRequestHandler) -> None:
        if request.path == "/live":
            redirect(to.format(request.server.server_address[1]))(request)  # type: ignore[index]
        else:
            send(request, clip)

    with serve(answer) as camera:
        assert watch(f"{camera.url}/live") == list(range(12))


def test_a_playlist_behind_a_redirect_is_relative_to_where_it_is(tmp_path: Path) -> None:
    write_clip(tmp_path / "list.m3u8", 12, fps=24, options={"hls_time": "0.5", "hls_list_size": "0"})

    def answer(request: BaseHTTPRequestHandler) -> None:
        if request.path == "/live":
            redirect("/deep/list.m3u8")(request)
        elif (file := tmp_path / request.path.removeprefix("/deep/")).is_file():
            send(request, file.read_bytes())
        else:
            send(request, b"", 404)

    with serve(answer) as camera:
        assert watch(f"{camera.url}/live") == list(range(12))


def test_an_encrypted_playlist_is_played(tmp_path: Path) -> None:
    key, iv = os.urandom(16), os.urandom(16)
    plain = write_clip(tmp_path / "a.ts", 12).read_bytes()
    padding = 16 - len(plain) % 16
    (tmp_path / "a.ts").write_bytes(Cipher(AES(key), CBC(iv)).encryptor().update(plain + bytes([padding]) * padding))
    (tmp_path / "key").write_bytes(key)
    text = (
        "#EXTM3U\n#EXT-X-TARGETDURATION:2\n"
        f'#EXT-X-KEY:METHOD=AES-128,URI="key",IV=0x{iv.hex()}\n#EXTINF:0.5,\na.ts\n#EXT-X-ENDLIST\n'
    )
    with serve(lists(text, tmp_path)) as camera:
        assert watch(f"{camera.url}/list.m3u8") == list(range(12))


@pytest.mark.parametrize("protocol", ["crypto:", "crypto+"])
@pytest.mark.parametrize("key", [None, 0, 15, 17, 40_000])
def test_a_segment_without_a_usable_key_is_refused(tmp_path: Path, protocol: str, key: int | None) -> None:
    write_clip(tmp_path / "a.ts", 12)
    (tmp_path / "key").write_bytes(bytes(key or 0))
    line = "" if key is None else '#EXT-X-KEY:METHOD=AES-128,URI="key"\n'

    def answer(request: BaseHTTPRequestHandler) -> None:
        address = f"{protocol}http://127.0.0.1:{request.server.server_address[1]}/a.ts"  # type: ignore[index]
        text = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n{line}#EXTINF:1,\n{address}\n#EXT-X-ENDLIST\n"
        lists(text, tmp_path)(request)

    with serve(answer) as camera, pytest.raises(SourceError):
        watch(f"{camera.url}/list.m3u8")


def test_an_error_of_ours_in_a_playlist_is_no_internal_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise KeyError("secret")

    text = PLAYLISTS["segment"].format("inner/")
    monkeypatch.setattr("streamd.sources.hls.HlsClient._opened", fail)
    with (
        serve(lists(text)) as camera,
        pytest.raises(SourceUnsupported, match="has a playlist that cannot be read"),
    ):
        watch(f"{camera.url}/list.m3u8")


def test_one_segment_that_is_missing_is_passed_over(tmp_path: Path) -> None:
    write_clip(tmp_path / "a.ts", 12)
    text = "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:0.5,\nnone.ts\n#EXTINF:0.5,\na.ts\n#EXT-X-ENDLIST\n"
    with serve(lists(text, tmp_path)) as camera:
        assert watch(f"{camera.url}/list.m3u8") == list(range(12))


USER, PASSWORD = "jo", "p@ss wörd:%"
LOGIN = "jo:p%40ss%20w%C3%B6rd%3A%25@"


def with_login(answer: Answer, scheme: str) -> Answer:
    """Asks for it first."""

    def check(request: BaseHTTPRequestHandler) -> None:
        given = request.headers.get("Authorization")
        if scheme == "Basic":
            right = given == "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        else:
            right = given is not None and is_digest(given, request.path)
        if right:
            answer(request)
        else:
            fields = 'realm="camera"' + (', nonce="abc", qop="auth"' if scheme == "Digest" else "")
            send(request, b"", 401, WWW_Authenticate=f"{scheme} {fields}")

    return check


def is_digest(given: str, path: str) -> bool:
    fields = dict(re.findall(r'(\w+)="?([^",]*)', given))

    def md5(text: str) -> str:
        return hashlib.md5(text.encode()).hexdigest()

    first, second = md5(f"{USER}:camera:{PASSWORD}"), md5(f"GET:{path}")
    response = md5(":".join([first, "abc", fields["nc"], fields["cnonce"], "auth", second]))
    return (fields["uri"], fields["response"]) == (path, response)


@pytest.mark.parametrize("scheme", ["Basic", "Digest"])
def test_a_login_is_given_to_the_camera_that_asks(tmp_path: Path, scheme: str) -> None:
    write_clip(tmp_path / "list.m3u8", 12, fps=24, options={"hls_time": "0.5", "hls_list_size": "0"})
    text = (tmp_path / "list.m3u8").read_text()
    with serve(with_login(lists(text, tmp_path), scheme)) as camera:
        assert watch(f"http://{LOGIN}127.0.0.1:{camera.port}/list.m3u8?a=b") == list(range(12))
        assert camera.logins[0] is None, "not before it asks"
        assert camera.logins.count(None) == 1, "and only the first time"


@pytest.mark.parametrize("scheme", ["Basic", "Digest"])
def test_a_wrong_password_is_tried_once(scheme: str) -> None:
    """Some cameras lock an account after a few."""
    with serve(with_login(lambda request: send(request, b""), scheme)) as camera:
        with pytest.raises(SourceRejected, match="access refused"):
            watch(f"http://jo:wrong@127.0.0.1:{camera.port}/")
        assert len(camera.asked) == 2


def test_a_login_is_given_to_nobody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another port of the camera, which asks for it."""
    monkeypatch.setattr("streamd.sources.destinations.network_of", lambda ip: Network.PUBLIC)
    with ExitStack() as stack:
        other = stack.enter_context(serve(with_login(lambda request: send(request, b""), "Basic")))
        camera = stack.enter_context(serve(redirect(f"{other.url}/")))
        with pytest.raises(SourceRejected, match="access refused"):
            watch(f"http://{LOGIN}127.0.0.1:{camera.port}/")
        assert other.logins == [None]


HEAD = b"HTTP/1.1 200 OK\r\n"
LIST = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n"
MOTION = HEAD + b"Content-Type: multipart/x-mixed-replace; boundary=b\r\n"
ENDLESS = {
    "playlist": (HEAD + b"\r\n" + LIST, b"#EXTINF:1,\na.ts\n"),
    "playlist without lines": (HEAD + b"\r\n" + LIST, b"x" * 100),
    "DASH": (HEAD + b"Content-Type: application/dash+xml\r\n\r\n<MPD>", b"<Period/>"),
    "DASH by its look": (HEAD + b"\r\n<?xml version='1.0'?><MPD>", b"<Period/>"),
    "part": (MOTION + b"\r\n--b\r\nContent-Type: image/jpeg\r\n\r\n\xff\xd8", b"\x11" * 100),
    "head of a part": (MOTION + b"\r\n--b\r\n", b"X: y\r\n"),
    "line": (HEAD + b"X: ", b"x" * 100),
    "head": (HEAD, b"X: y\r\n"),
    "interim answers": (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "chunk extension": (MOTION + b"Transfer-Encoding: chunked\r\n\r\n1;", b"x" * 100),
    "trailer": (MOTION + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"X: y\r\n"),
    "zeroes": (HEAD + b"\r\n", bytes(100)),
}
WITHOUT_PICTURES = {
    "boundaries": (MOTION + b"\r\n", b"--b\r\n"),
    "empty parts": (MOTION + b"\r\n", b"--b\r\nContent-Length: 0\r\n\r\n\r\n"),
    "parts in parts": (MOTION + b"\r\n", MOTION.removeprefix(HEAD) + b"\r\n--b\r\n"),
    "part of a gigabyte": (MOTION + b"\r\n--b\r\nContent-Length: 1073741824\r\n\r\n", bytes(100)),
    "answer of a gigabyte": (HEAD + b"Content-Type: image/jpeg\r\nContent-Length: 1073741824\r\n\r\n", bytes(100)),
    "pictures within heads of pictures": (MOTION + b"\r\n", b"\xff\xe0\x00\x04\xff\xd8"),
    "fill bytes": (MOTION + b"\r\n\xff\xd8", b"\xff" * 100),
    "chunks of a PNG": (MOTION + b"\r\n\x89PNG\r\n\x1a\n", b"\0\0\0\0IDAT\0\0\0\0"),
    "WebP of 4 GB": (HEAD + b"\r\nRIFF\xff\xff\xff\xffWEBP", bytes(100)),
    "small pictures that are none": (MOTION + b"\r\n", b"\xff\xd8\xff\xda\0\x02\xff\xd9"),
}
"""All different ways to keep busy whoever looks for pictures."""
MAX_GROWTH_KB = 300_000


@contextmanager
def bounded_memory() -> Iterator[None]:
    Path("/proc/self/clear_refs").write_text("5")  # the peak is measured anew
    before_kb = memory_kb("VmRSS")
    yield
    assert memory_kb("VmHWM") - before_kb < MAX_GROWTH_KB


def memory_kb(name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])


@contextmanager
def endless(first: bytes, then: bytes, every_s: float = 0.0) -> Iterator[str]:
    """A camera that never ends; the address. ``every_s`` between two of ``then``; 0: as fast as it can."""

    def script(connection: socket.socket, stop: threading.Event) -> None:
        connection.recv(4096)
        connection.sendall(first)
        while not stop.wait(every_s):
            connection.sendall(then if every_s else then * 1000)

    with peer(script) as address:
        yield f"http://{address}/x"


@pytest.mark.parametrize("what", ENDLESS)
def test_memory_is_bounded_whatever_comes(what: str) -> None:
    with bounded_memory(), endless(*ENDLESS[what]) as url, pytest.raises(SourceError) as caught:
        watch(url, read_timeout_s=10)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("what", WITHOUT_PICTURES)
def test_what_has_no_pictures_ends_in_time(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    monkeypatch.setattr("streamd.sources.base.OPEN_TIMEOUT_S", 1.0)
    started = own_time()
    with bounded_memory(), endless(*WITHOUT_PICTURES[what]) as url, pytest.raises(SourceError):
        watch(url, read_timeout_s=1)
    assert own_time() - started < scaled(5)


def test_a_kilobyte_cannot_stand_for_gigabytes() -> None:
    """Compressed zeroes, and Motion JPEG of nothing else."""
    packer = zlib.compressobj(wbits=31)
    first = packer.compress(bytes(MIB)) + packer.flush(zlib.Z_FULL_FLUSH)
    again = packer.compress(bytes(MIB)) + packer.flush(zlib.Z_FULL_FLUSH)
    for head in (HEAD, MOTION):
        head += b"Content-Encoding: gzip\r\n\r\n"
        with bounded_memory(), endless(head + first, again) as url, pytest.raises(SourceError):
            watch(url, read_timeout_s=10)


@pytest.mark.parametrize("what", ["boundaries", "pictures within heads of pictures", "small pictures that are none"])
def test_a_camera_that_keeps_us_busy_does_not_stop_another(what: str) -> None:
    """The other one sends a picture when the one before has been seen."""
    count, seen = 10, threading.Semaphore(0)

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Type", "multipart/x-mixed-replace; boundary=b")
        request.end_headers()
        with suppress(OSError):
            for number in range(count):
                request.wfile.write(b"--b\r\n\r\n" + still_of(number))
                seen.acquire(timeout=scaled(5))

    numbers, late = list[int](), list[float]()

    def look(url: str) -> None:
        with suppress(SourceEnded):
            newest_s = time.monotonic()
            for frame in open_source(StreamConfig(source=url), threading.Event()).frames():
                numbers.append(number_in(frame))
                late.append(time.monotonic() - newest_s)
                seen.release()
                newest_s = time.monotonic()

    with endless(*WITHOUT_PICTURES[what]) as url, serve(answer) as camera:
        other = threading.Thread(target=look, args=(camera.url,))
        other.start()
        while other.is_alive():
            with suppress(SourceError):
                watch(url, read_timeout_s=1)
        other.join()
    assert numbers == list(range(count))
    assert sorted(late)[count // 2] < scaled(0.5)


@pytest.mark.parametrize("name", ["key", "map"])
def test_a_key_or_an_init_segment_without_end(name: str) -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        if request.path.startswith("/list"):
            lists(PLAYLISTS[name].format("huge"))(request)
            return
        request.send_response(200)
        request.end_headers()
        with suppress(OSError):
            while True:
                request.wfile.write(bytes(100_000))

    with bounded_memory(), serve(answer) as camera, pytest.raises(SourceError):
        watch(f"{camera.url}/list.m3u8", read_timeout_s=10)


def test_a_short_playlist_cannot_stand_for_gigabytes() -> None:
    """FFmpeg keeps a whole address for each line."""
    path = "/list.m3u8/" + "x" * 3000 + "/"
    text = LIST + b"#EXTINF:1,\na\n" * 50_000

    def answer(request: BaseHTTPRequestHandler) -> None:
        (redirect(path) if request.path == "/live" else lambda request: send(request, text))(request)

    with bounded_memory(), serve(answer) as camera, pytest.raises(SourceUnsupported, match="without a picture"):
        watch(f"{camera.url}/live")


def test_a_chunk_of_a_negative_length_is_refused() -> None:
    chunks = b"Transfer-Encoding: chunked\r\n\r\n-7\r\n"
    with endless(MOTION + chunks, b"x" * 100) as url, pytest.raises(SourceError):
        watch(url)


def test_a_playlist_that_trickles_after_opening_is_a_stall(tmp_path: Path) -> None:
    """Its reload, a byte at a time: never silent, and FFmpeg does not look at its own time limit."""
    write_clip(tmp_path / "list.m3u8", 36, fps=24, options={"hls_time": "0.5", "hls_list_size": "0"})
    text = (tmp_path / "list.m3u8").read_text().replace("#EXT-X-ENDLIST\n", "")
    over, reloads = threading.Event(), list[str]()

    def answer(request: BaseHTTPRequestHandler) -> None:
        if request.path != "/list.m3u8" or not reloads:
            reloads.append(request.path)
            lists(text, tmp_path)(request)
            return
        request.send_response(200)
        request.end_headers()
        with suppress(OSError):
            request.wfile.write(LIST)
            while not over.wait(0.1):
                request.wfile.write(b"#")
                request.wfile.flush()

    with serve(answer) as camera:
        try:
            started = time.monotonic()
            with pytest.raises((SourceStalled, SourceEnded)):
                watch(f"{camera.url}/list.m3u8", read_timeout_s=1)
            assert time.monotonic() - started < scaled(6)
        finally:
            over.set()


@pytest.mark.parametrize("what", ["part", "head of a part"])
def test_a_camera_that_trickles_without_a_picture_is_given_up(monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    monkeypatch.setattr("streamd.sources.base.OPEN_TIMEOUT_S", 1.0)
    started = time.monotonic()
    with endless(ENDLESS[what][0], b"\x11", 0.05) as url, pytest.raises(SourceError):
        watch(url, read_timeout_s=1)
    assert time.monotonic() - started < scaled(4)
