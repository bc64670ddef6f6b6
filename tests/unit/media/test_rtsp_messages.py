"""How a stream of RTSP is cut into messages and frames."""

from __future__ import annotations

import pytest

from streamd.media import rtsp_messages
from streamd.media.rtsp_messages import MAX_HEAD, Message, NotRtsp, Reader
from tests.support.waiting import own_time

FRAME = b"$\0\0\x0c" + b"r" * 12
OK = b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Length: 3\r\n\r\nabc"


def written(units: list[Message | bytes]) -> bytes:
    return b"".join(map(bytes, units))


def test_messages_and_frames_come_in_their_order() -> None:
    stream = FRAME + FRAME + OK + FRAME + b"GET_PARAMETER rtsp://h/ RTSP/1.0\r\nCSeq: 2\r\n\r\n"
    units = list(Reader().read(stream))
    assert [type(unit) for unit in units] == [bytes, Message, bytes, Message]
    assert written(units) == stream
    assert isinstance(units[1], Message)
    assert (units[1].status, units[1].body, units[1].request) == (200, b"abc", None)
    assert isinstance(units[3], Message)
    assert (units[3].status, units[3].request) == (None, ("GET_PARAMETER", "rtsp://h/"))


def test_it_does_not_matter_how_they_arrive() -> None:
    reader, stream = Reader(), FRAME + OK + FRAME
    assert written([unit for byte in stream for unit in reader.read(bytes([byte]))]) == stream


@pytest.mark.parametrize(
    ("came", "goes_on"),
    [
        (b"RTSP/1.0 200 OK\nCSeq:1\n\n", b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n"),
        (b"\r\n\r\nRTSP/1.0 200 OK\r\n\r\n", b"RTSP/1.0 200 OK\r\n\r\n"),
        (b"RTSP/1.0 200 OK\r\n$\0\0\x01x\r\nno header\r\nA: b\r\n\r\n", b"RTSP/1.0 200 OK\r\nA: b\r\n\r\n"),
        (b"RTSP/1.0 200 OK\r\nContent-Length: 9\r\nContent-Length: 0\r\n\r\n", b"RTSP/1.0 200 OK\r\n\r\n"),
        (b"$\0\0\x04RTSP" + FRAME, FRAME),
        (FRAME + b"$\0\0\0" + FRAME, FRAME + FRAME),
    ],
)
def test_what_two_readers_may_understand_differently_is_made_plain(came: bytes, goes_on: bytes) -> None:
    assert written(list(Reader().read(came))) == goes_on


@pytest.mark.parametrize(
    "came",
    [
        b"\xff\x00garbage\r\n\r\n",
        b"HTTP/1.0 404 Not Found\r\n\r\n",
        b"\xff" * 100,
        b"RTSP/1.0 0302 Moved\r\n\r\n",
        b"RTSP/1.0 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"RTSP/1.0 200 OK\r\nContent-Length: 9999999\r\n\r\n",
        b"RTSP/1.0 200 OK\r\nX: " + b"y" * MAX_HEAD,
    ],
)
def test_all_else_is_no_rtsp(came: bytes) -> None:
    with pytest.raises(NotRtsp):
        list(Reader().read(came))


def test_headers_are_found_whatever_their_case() -> None:
    message = Message(b"RTSP/1.0 401 No", [("www-Authenticate", b"Basic"), ("WWW-Authenticate", b"Digest")])
    assert message.all("WWW-Authenticate") == [b"Basic", b"Digest"]
    assert message.get("WWW-AUTHENTICATE") == b"Digest"
    assert message.without("www-authenticate") == []
    message.set("cseq", b"1")
    message.set("CSeq", b"2")
    assert message.get("CSeq") == b"2"


def test_a_run_of_line_ends_takes_no_time() -> None:
    reader, began = Reader(), own_time()
    assert not list(reader.read(b"OPTIONS * RTSP/1.0" + b"\r" * (MAX_HEAD - 1000)))
    for _ in range(100):
        assert not list(reader.read(b"\r"))
    assert own_time() - began < 1.0  # the square took a second each time


def test_a_head_is_read_once_however_its_body_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    heads: list[bytes] = []
    parsed = rtsp_messages._parsed

    def noted(head: bytes) -> Message:
        heads.append(head)
        return parsed(head)

    monkeypatch.setattr(rtsp_messages, "_parsed", noted)
    reader, request = Reader(), b"GET_PARAMETER * RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 9\r\n\r\nabcdefghi"
    units = [unit for byte in request + FRAME + request for unit in reader.read(bytes([byte]))]
    assert [getattr(unit, "body", unit) for unit in units] == [b"abcdefghi", FRAME, b"abcdefghi"]
    assert len(heads) == 4  # when it is complete, and with the body
