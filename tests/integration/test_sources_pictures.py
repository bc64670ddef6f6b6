"""Cameras that send pictures by HTTP: Motion JPEG as browsers take it, and snapshots that are asked for."""

from __future__ import annotations

import base64
import contextlib
import io
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from streamd.config.sections import StreamConfig
from streamd.errors import SourceEnded, SourceError, SourceRejected, SourceStalled, SourceUnreachable, SourceUnsupported
from streamd.sources import open_source
from streamd.sources.base import Source
from streamd.states import SkipReason
from tests.support.certificates import make_certificate
from tests.support.clips import number_in, picture_of
from tests.support.stills import still_of
from tests.support.waiting import scaled
from tests.unit.sources.peers import peer

pytestmark = pytest.mark.timeout(30)

COUNT = 6
PICTURES = [still_of(number) for number in range(COUNT)]
WHOLE = list(range(COUNT))


class Camera:
    """Answers each request with what is next in ``answers``, then closes; the last one again and again."""

    def __init__(self, *answers: bytes | Callable[[socket.socket, threading.Event], object]) -> None:
        self.answers = list(answers)
        self.requests: list[str] = []

    def __call__(self, connection: socket.socket, stop: threading.Event) -> None:
        request = b""
        while not request.endswith(b"\r\n\r\n"):
            data = connection.recv(4096)
            if not data:
                return
            request += data
        self.requests.append(request.decode())
        answer = self.answers[min(len(self.requests), len(self.answers)) - 1]
        if callable(answer):
            answer(connection, stop)
        else:
            connection.sendall(answer)


def source_of(url: str, **settings: Any) -> Source:
    return open_source(StreamConfig(source=url, **{"read_timeout_s": 2, **settings}), threading.Event())


def head(type: str | None, status: str = "200 OK", **headers: object) -> bytes:
    lines = [f"HTTP/1.1 {status}"] + ([f"Content-Type: {type}"] if type else [])
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


def chunked(data: bytes, size: int = 777) -> bytes:
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def parts(boundary: bytes = b"--frame", head: str = "Content-Type: image/jpeg\r\nContent-Length: {}\r\n") -> bytes:
    """Boundary, headers, picture."""
    return b"".join(
        boundary + b"\r\n" + head.format(len(picture)).encode() + b"\r\n" + picture + b"\r\n" for picture in PICTURES
    )


def late(head: str = "Content-Type: image/jpeg\r\nContent-Length: {}\r\n\r\n") -> bytes:
    """Headers, picture, boundary."""
    return b"".join(head.format(len(picture)).encode() + picture + b"\r\n--frame\r\n" for picture in PICTURES)


def with_segment(picture: bytes, segment: bytes) -> bytes:
    """After the first two bytes."""
    return picture[:2] + segment + picture[2:]


MULTIPART = "multipart/x-mixed-replace; boundary="
LINE_FEEDS = parts(head="Content-Type: image/jpeg\n").replace(b"frame\r\n", b"frame\n")
NESTED = b"--outer\r\nContent-Type: " + MULTIPART.encode() + b"frame\r\n\r\n" + parts()
TEXT = b"--frame\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello\r\n"
TEXTS = parts().replace(b"--frame", TEXT + b"--frame")
THUMBNAIL = b"\xff\xe1" + (len(PICTURES[0]) + 10).to_bytes(2) + b"Exif\0\0\0\0" + PICTURES[0]
THUMBNAILS = b"".join(b"--frame\r\n\r\n" + with_segment(picture, THUMBNAIL) + b"\r\n" for picture in PICTURES)
LENGTH_ONLY = "Content-Length: {}\r\n"
AS_BROWSERS_DO = {
    "usual": head(MULTIPART + "frame") + parts(),
    "leading dashes in the header": head(MULTIPART + "--frame") + parts(),
    "no dashes in the body": head(MULTIPART + "frame") + parts(b"frame"),
    "quoted": head(MULTIPART + '"frame"') + parts(),
    "no boundary in the header": head("multipart/x-mixed-replace") + parts(),
    "another boundary in the header": head(MULTIPART + "other") + parts(),
    "boundary late": head(MULTIPART + "frame") + late(),
    "boundary late, no headers": head(MULTIPART + "frame") + late(""),
    "no boundary at all": head(MULTIPART + "frame") + parts(b""),
    "line feeds only": head(MULTIPART + "frame") + LINE_FEEDS,
    "no length": head(MULTIPART + "frame") + parts(head="Content-Type: image/jpeg\r\n"),
    "length too large": head(MULTIPART + "frame") + parts(head="Content-Length: 99999999\r\n"),
    "length too small": head(MULTIPART + "frame") + parts(head="Content-Length: 7\r\n"),
    "length is no number": head(MULTIPART + "frame") + parts(head="Content-Length: many\r\n"),
    "small letters": head(MULTIPART + "frame") + parts(head="content-type: image/jpeg\r\ncontent-length:{}\r\n"),
    "no part headers": head(MULTIPART + "frame") + parts(head=""),
    "length only": head(MULTIPART + "frame") + parts(head=LENGTH_ONLY),
    "more part headers": head(MULTIPART + "frame") + parts(head="X-Timestamp: 1.5\r\nX: \r\n" + LENGTH_ONLY),
    "part of another type": head(MULTIPART + "frame") + parts(head="Content-Type: image/jpg\r\n"),
    "preamble": head(MULTIPART + "frame") + b"This is Motion JPEG.\r\n\r\n" + parts(),
    "epilogue": head(MULTIPART + "frame") + parts() + b"--frame--\r\nThat was it.\r\n",
    "empty parts": head(MULTIPART + "frame") + parts().replace(b"--frame", b"--frame\r\n\r\n\r\n--frame"),
    "parts of text": head(MULTIPART + "frame") + TEXTS,
    "chunked": head(MULTIPART + "frame", Transfer_Encoding="chunked") + chunked(parts()),
    "chunked, late": head(MULTIPART + "frame", Transfer_Encoding="chunked") + chunked(late(), 100),
    "mixed": head("multipart/mixed; boundary=frame") + parts(),
    "nested": head(MULTIPART + "outer") + NESTED,
    "bare": head("image/jpeg") + b"".join(PICTURES),
    "bare, by another type": head("video/x-motion-jpeg") + b"".join(PICTURES),
    "bare, without a type": head(None) + b"".join(PICTURES),
    "without a type": head(None) + parts(),
    "late, without a type": head(None) + late(),
    "other headers first, without a type": head(None) + late("X-Timestamp: 1\r\nContent-Type: image/jpeg\r\n\r\n"),
    "wrong type": head("text/plain") + parts(),
    "junk between": head("image/jpeg") + b"\xff\xd8junk\xff".join([b"", *PICTURES]),
    "thumbnails": head(MULTIPART + "frame") + THUMBNAILS,
    "HTTP/1.0": (head(MULTIPART + "frame") + parts()).replace(b"HTTP/1.1", b"HTTP/1.0"),
    "no marks of the end": head(MULTIPART + "frame") + parts().replace(b"\xff\xd9", b""),
    "PNG": head(MULTIPART + "frame") + b"".join(b"--frame\r\n\r\n" + still_of(n, "png") for n in WHOLE),
    "WebP": head(MULTIPART + "frame") + b"".join(b"--frame\r\n\r\n" + still_of(n, "libwebp") for n in WHOLE),
}  # fmt: skip


@pytest.mark.parametrize("what", AS_BROWSERS_DO)
def test_motion_jpeg_as_browsers_take_it(what: str) -> None:
    seen: list[int] = []
    with peer(Camera(AS_BROWSERS_DO[what])) as address, pytest.raises(SourceEnded, match="stopped sending"):
        seen.extend(number_in(frame) for frame in source_of(f"http://{address}/video").frames())
    assert seen == WHOLE


def watch(source: Source, most: int = 1000) -> list[int]:
    """Until it is lost, or so many."""
    with contextlib.closing(source.frames()) as frames, contextlib.suppress(SourceEnded):
        return [number_in(frame) for frame in islice(frames, most)]
    raise AssertionError


def seen_of(body: bytes, **settings: Any) -> tuple[list[int], list[SkipReason]]:
    """The numbers of the pictures, and what was left out."""
    seen, skipped = list[int](), list[SkipReason]()
    with peer(Camera(body)) as address:
        source = source_of(f"http://{address}/video", **settings)
        source.on_skip = skipped.append
        with contextlib.suppress(SourceEnded):
            seen.extend(number_in(frame) for frame in source.frames())
    return seen, skipped


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5, 0.9])
@pytest.mark.parametrize("cut_length", [True, False])
def test_a_cut_picture_is_left_out_and_counted(share: float, cut_length: bool) -> None:
    body = head(MULTIPART + "frame")
    for number, picture in enumerate(PICTURES):
        sent = picture[: max(4, int(share * len(picture)))] if number == 2 else picture
        length = len(sent if cut_length else picture)
        body += b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n" % (length, sent)
    assert seen_of(body) == ([0, 1, 3, 4, 5], [SkipReason.CORRUPT])


@pytest.mark.parametrize("codec", ["png", "libwebp"])
def test_a_cut_picture_of_another_kind(codec: str) -> None:
    pictures = [still_of(number, codec) for number in WHOLE]
    pictures[2] = pictures[2][: len(pictures[2]) // 2]
    seen, skipped = seen_of(head(MULTIPART + "f") + b"".join(b"--f\r\n\r\n" + picture for picture in pictures))
    assert set(skipped) == {SkipReason.CORRUPT}
    assert seen[:2] == [0, 1]
    assert seen[-1] == 5


def saved(number: int, **options: Any) -> bytes:
    file = io.BytesIO()
    gray = picture_of(number).to_ndarray(format="gray")
    Image.fromarray(np.dstack([gray] * 3)).save(file, "jpeg", **options)
    return file.getvalue()


def without_tables(picture: bytes) -> bytes:
    """As AVI1 and old cameras send: the usual Huffman tables are not in it."""
    at, kept = 2, picture[:2] + b"\xff\xe0\x00\x10AVI1" + bytes(10)
    while picture[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(picture[at + 2 : at + 4])
        kept += b"" if picture[at + 1] == 0xC4 else picture[at:end]
        at = end
    return kept + picture[at:]


@pytest.mark.parametrize("kind", ["progressive", "without tables", "restarts", "gray"])
def test_kinds_of_jpeg(kind: str) -> None:
    if kind == "without tables":
        pictures = [without_tables(saved(number)) for number in WHOLE]
    elif kind == "gray":
        pictures = [saved_gray(number) for number in WHOLE]
    else:
        options = {"progressive": True} if kind == "progressive" else {"restart_marker_rows": 1}
        pictures = [saved(number, **options) for number in WHOLE]
    assert seen_of(head("image/jpeg") + b"".join(pictures)) == (WHOLE, [])


def saved_gray(number: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture_of(number).to_ndarray(format="gray")).save(file, "jpeg")
    return file.getvalue()


def test_the_size_changes_in_mid_stream() -> None:
    sizes = [(192, 112), (384, 224), (128, 48), (192, 112)]
    body = head(MULTIPART + "frame") + b"".join(
        b"--frame\r\n\r\n" + still_of(number, size=size) + b"\r\n" for number, size in enumerate(sizes)
    )
    seen: list[tuple[int, tuple[int, int]]] = []
    with peer(Camera(body)) as address, contextlib.suppress(SourceEnded):
        frames = source_of(f"http://{address}/").frames()
        seen.extend((number_in(frame), (frame.width, frame.height)) for frame in frames)
    assert seen == list(enumerate(sizes))


def test_a_picture_is_out_with_its_last_byte() -> None:
    """Not with the next boundary: the camera waits until it has been seen."""
    seen = threading.Semaphore(0)
    waited = list[bool]()

    def answer(connection: socket.socket, stop: threading.Event) -> None:
        connection.sendall(head(MULTIPART + "frame"))
        for picture in PICTURES:
            connection.sendall(b"--frame\r\n\r\n" + picture)
            waited.append(seen.acquire(timeout=scaled(2)))

    numbers = []
    with peer(Camera(answer)) as address, contextlib.suppress(SourceEnded):
        for frame in source_of(f"http://{address}/").frames():
            numbers.append(number_in(frame))
            seen.release()
    assert (numbers, waited) == (WHOLE, [True] * COUNT)


def test_one_that_sends_a_picture_and_is_silent_is_a_stall() -> None:
    """It keeps the connection, so it is no snapshot."""

    def answer(connection: socket.socket, stop: threading.Event) -> None:
        connection.sendall(head(MULTIPART + "frame") + b"--frame\r\n\r\n" + PICTURES[0])
        stop.wait()

    camera, seen = Camera(answer), list[int]()
    with peer(camera) as address, pytest.raises(SourceStalled):
        seen.extend(number_in(frame) for frame in source_of(f"http://{address}/", read_timeout_s=0.5).frames())
    assert (seen, len(camera.requests)) == ([0], 1)


def test_stop_ends_the_wait_for_more_of_the_answer() -> None:
    """It kept the thread for ever, at full load."""

    def answer(connection: socket.socket, stop: threading.Event) -> None:
        connection.sendall(head(MULTIPART + "frame") + b"--frame\r\n\r\n" + PICTURES[0])
        stop.wait()

    with peer(Camera(answer)) as address:
        source = source_of(f"http://{address}/", read_timeout_s=20)
        started = time.monotonic()
        with contextlib.suppress(SourceError):
            for _ in source.frames():
                threading.Timer(0.2, source.stop.set).start()
        assert time.monotonic() - started < scaled(2)


def test_a_backlog_is_passed_over() -> None:
    """Decoding, and whoever takes the pictures, is slower than the camera: what piles up is not shown late."""
    count, over = 400, threading.Event()
    body = head(MULTIPART + "frame") + b"".join(b"--frame\r\n\r\n" + PICTURES[0] for _ in range(count))

    def answer(connection: socket.socket, stop: threading.Event) -> None:
        connection.sendall(body + b"--frame\r\n\r\n" + PICTURES[1])
        over.wait(scaled(10))

    skipped, came = list[SkipReason](), 0
    with peer(Camera(answer)) as address:
        source = source_of(f"http://{address}/", read_timeout_s=scaled(2))
        source.on_skip = skipped.append
        with contextlib.closing(source.frames()) as frames:
            for frame in frames:
                came += 1
                if number_in(frame) == 1:
                    break
                time.sleep(0.02)  # what follows is busy
        over.set()
    assert set(skipped) == {SkipReason.LATE}
    assert 5 < came < 100
    assert came + len(skipped) == count + 1


def still(number: int, codec: str = "mjpeg", type: str | None = "image/jpeg", *, has_length: bool = True) -> bytes:
    picture = still_of(number, codec)
    headers = {"Content_Length": len(picture)} if has_length else {}
    return head(type, "200 OK", **headers) + picture


def saved_as(format: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture_of(7).to_ndarray(format="rgb24")).save(file, format)
    return file.getvalue()


PAGE = head("text/html", Content_Length=6) + b"<html>"
BUSY = head(None, "503 Service Unavailable", Content_Length=0)
SNAPSHOTS = {
    "usual": still(7),
    "no length": still(7, has_length=False),
    "chunked": head("image/jpeg", Transfer_Encoding="chunked") + chunked(still_of(7)),
    "no type": still(7, type=None),
    "wrong type": still(7, type="text/html"),
    "one part": head(MULTIPART + "frame") + b"--frame\r\n\r\n" + still_of(7) + b"\r\n--frame--\r\n",
    "PNG": still(7, "png", "image/png"),
    "PNG without a type": still(7, "png", None),
    "WebP": still(7, "libwebp", "image/webp"),
    "WebP by another type": still(7, "libwebp", "image/jpeg"),
    "no mark of the end": head("image/jpeg") + still_of(7)[:-2],
    "length too large": head("image/jpeg", Content_Length=99_999) + still_of(7),
    "last chunk missing": head("image/jpeg", Transfer_Encoding="chunked") + chunked(still_of(7))[:-5],
    "more behind it": head("image/jpeg") + still_of(7) + bytes(1000),
    "a preview behind it": head("image/jpeg", Content_Length=2 * len(still_of(7))) + still_of(7) + still_of(8),
    "BMP": head("image/bmp", Content_Length=len(saved_as("bmp"))) + saved_as("bmp"),
    "BMP without a type and length": head(None) + saved_as("bmp"),
    "GIF": head("image/gif", Content_Length=len(saved_as("gif"))) + saved_as("gif"),
}


@pytest.mark.parametrize("what", SNAPSHOTS)
def test_a_snapshot_is_asked_for_again(what: str) -> None:
    """The same picture again is a picture too."""
    camera = Camera(SNAPSHOTS[what])
    with peer(camera) as address:
        assert watch(source_of(f"http://{address}/shot.jpg?a=b", max_fps=100), 4) == [7] * 4
    assert len(camera.requests) == 4
    assert {request.split("\r\n")[0] for request in camera.requests} == {"GET /shot.jpg?a=b HTTP/1.1"}


@pytest.mark.parametrize(("settings", "every_s"), [({"max_fps": 5}, 0.2), ({}, 1.0), ({"read_timeout_s": 0.6}, 0.2)])
def test_how_often_it_is_asked(settings: dict[str, Any], every_s: float) -> None:
    """Once a second unless ``max_fps`` says otherwise, and before the time limit."""
    with peer(Camera(still(7))) as address:
        started = time.monotonic()
        assert watch(source_of(f"http://{address}/", **{"read_timeout_s": 10, **settings}), 2) == [7] * 2
        assert every_s - 0.01 < time.monotonic() - started < scaled(every_s + 0.5)


def test_stop_ends_the_wait_for_the_next_snapshot() -> None:
    with peer(Camera(still(7))) as address:
        source = source_of(f"http://{address}/", max_fps=0.2, read_timeout_s=60)
        started = time.monotonic()
        for _ in source.frames():
            threading.Timer(0.1, source.stop.set).start()
        assert time.monotonic() - started < scaled(1)


@pytest.mark.parametrize(
    "failure",
    [
        BUSY,
        head(None, "404 Not Found"),
        PAGE,
        b"",
        b"nonsense\r\n\r\n",
        head("image/jpeg", Content_Length=0),
        head("image/jpeg", Content_Length=9999) + PICTURES[1],
        head("image/jpeg") + PICTURES[1][:700],
    ],
)
def test_a_snapshot_that_fails_now_and_then_is_no_loss(failure: bytes) -> None:
    camera = Camera(still(1), failure, failure, still(2), failure, still(3))
    with peer(camera) as address:
        numbers = watch(source_of(f"http://{address}/", max_fps=100), 3)
    assert numbers in ([1, 2, 3], [1, 1, 1]), "the second if the length was wrong only"
    assert len(camera.requests) in (3, 6)


SIGNS = {
    "JPEG": still(1),
    "PNG": still(1, "png", "image/png"),
    "WebP": still(1, "libwebp", "image/webp"),
    "one dot": head("image/gif") + base64.b64decode("R0lGODdhAQABAIAAAAAAAAAAACwAAAAAAQABAAACAkQBADs="),
}


@pytest.mark.parametrize("sign", SIGNS)
def test_a_camera_takes_the_place_of_the_sign_that_it_is_away(sign: str) -> None:
    """Which may be of another kind."""
    skipped = list[SkipReason]()
    with peer(Camera(SIGNS[sign], still(2), still(3, "png"), still(4))) as address:
        source = source_of(f"http://{address}/", max_fps=100)
        source.on_skip = skipped.append
        with contextlib.closing(source.frames()) as frames:
            next(frames)
            assert [number_in(next(frames)) for _ in range(3)] == [2, 3, 4]
    assert skipped == []


def test_a_bmp_that_fails_now_and_then_is_no_loss() -> None:
    bmp = head("image/bmp") + saved_as("bmp")
    with peer(Camera(bmp, BUSY, PAGE, b"", bmp)) as address:
        assert watch(source_of(f"http://{address}/", max_fps=100), 2) == [7, 7]
    with peer(Camera(bmp, BUSY)) as address, pytest.raises(SourceUnreachable, match="answers 503"):
        watch(source_of(f"http://{address}/", max_fps=100, read_timeout_s=0.3))


def test_pictures_that_cannot_be_decoded_are_a_loss() -> None:
    """They are whole as far as one can see, and come again and again."""
    empty = head("image/webp") + b"RIFF\x04\0\0\0WEBP"
    with peer(Camera(still(1), empty)) as address, pytest.raises(SourceStalled, match="sends no pictures that can"):
        list(source_of(f"http://{address}/", max_fps=50, read_timeout_s=0.4).frames())


def test_a_redirect_that_is_no_address_is_refused() -> None:
    with (
        peer(Camera(head(None, "302 Found", Location="http://[::1"))) as address,
        pytest.raises(SourceRejected, match="leads to an address that is not one of"),
    ):
        watch(source_of(f"http://{address}/"))


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"<!DOCTYPE html><html>Log in</html>", "sends a page, not video"),
        (b'\xef\xbb\xbf\n {"error": "busy"}', "sends a page, not video"),
        (b"", "sends an empty answer"),
    ],
)
def test_what_is_neither_picture_nor_video(body: bytes, reason: str) -> None:
    with peer(Camera(head("text/html") + body)) as address, pytest.raises(SourceUnsupported, match=reason):
        watch(source_of(f"http://{address}/"))


def test_a_slow_answer_is_given_up_in_time_for_another() -> None:
    camera = Camera(still(1), lambda connection, stop: stop.wait(), still(2))
    with peer(camera) as address:
        assert watch(source_of(f"http://{address}/", read_timeout_s=scaled(1.5)), 2) == [1, 2]


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        (BUSY, SourceUnreachable),
        (head(None, "404 Not Found"), SourceUnreachable),
        (PAGE, SourceStalled),
        (head("image/jpeg") + PICTURES[1][:700], SourceStalled),
    ],
)
def test_snapshots_that_fail_for_long_are_a_loss(failure: bytes, error: type[SourceError]) -> None:
    camera, seen = Camera(still(1), failure), list[int]()
    with peer(camera) as address, pytest.raises(error):
        seen.extend(number_in(frame) for frame in source_of(f"http://{address}/", read_timeout_s=0.6).frames())
    assert seen == [1]
    assert 1 < len(camera.requests) < 6


def test_a_snapshot_whose_login_changes_is_lost_at_once() -> None:
    """Some cameras lock an account after a few wrong passwords."""
    camera = Camera(still(1), head(None, "401 Unauthorized", Content_Length=0))
    with peer(camera) as address, pytest.raises(SourceRejected, match="access refused"):
        list(source_of(f"http://{address}/", max_fps=100).frames())
    assert len(camera.requests) == 2


def test_a_login_costs_one_request_more_only_when_the_nonce_is_new() -> None:
    def challenge(nonce: str, more: str = "") -> bytes:
        header = f'Digest realm="r", nonce="{nonce}", qop="auth"{more}'
        return head(None, "401 Unauthorized", Content_Length=0, WWW_Authenticate=header)

    camera = Camera(challenge("a"), still(1), still(2), still(3), challenge("b", ", stale=true"), still(4), still(5))
    with peer(camera) as address:
        assert watch(source_of(f"http://jo:secret@{address}/", max_fps=100), 5) == [1, 2, 3, 4, 5]
    nonces = [re.search(r'nonce="(\w)"', request) for request in camera.requests]
    assert [nonce and nonce[1] for nonce in nonces] == [None, "a", "a", "a", "a", "b", "b"]
    counts = [count[1] for request in camera.requests if (count := re.search(r"nc=(\d+)", request))]
    assert [int(count) for count in counts] == [1, 2, 3, 4, 1, 2]


def test_a_snapshot_that_leads_elsewhere_later_is_refused() -> None:
    trap, camera = Camera(still(2)), Camera(still(1))
    with peer(trap) as other, peer(camera) as address:
        camera.answers.append(head(None, "302 Found", Location=f"http://{other}/"))
        with pytest.raises(SourceRejected, match=r"leads to .*refused"):
            list(source_of(f"http://{address}/", max_fps=100).frames())
    assert trap.requests == []


def test_motion_jpeg_and_snapshots_by_https(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*make_certificate(tmp_path, "camera"))
    camera = Camera(still(1), still(2), head(MULTIPART + "frame") + parts())

    def encrypted(connection: socket.socket, stop: threading.Event) -> None:
        with context.wrap_socket(connection, server_side=True) as tls:
            camera(tls, stop)

    with peer(encrypted) as address:
        assert watch(source_of(f"https://{address}/", max_fps=100), 2 + COUNT) == [1, 2, *WHOLE]


def test_pages_where_a_picture_should_be() -> None:
    page = head("image/jpeg", Content_Length=6) + b"<html>"
    with peer(Camera(page)) as address, pytest.raises(SourceUnsupported, match="has no pictures"):
        watch(source_of(f"http://{address}/"))


def test_a_file_of_motion_jpeg_ends() -> None:
    """Its length is known; it is played at 25 pictures a second."""
    body = b"".join(PICTURES)
    with peer(Camera(head(None, Content_Length=len(body)) + body)) as address:
        started = time.monotonic()
        assert [number_in(frame) for frame in source_of(f"http://{address}/a.mjpeg").frames()] == WHOLE
        assert time.monotonic() - started > (COUNT - 1) / 25 - 0.01
