"""By HTTP: what servers write between two answers, and in them."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

import numpy as np
import pytest

from streamd.config.endpoints import EndpointAddress
from streamd.depth.remote.answer import Late, NoAnswer
from streamd.depth.remote.rest import RestClient
from tests.support.waiting import scaled

PICTURES = np.zeros((1, 2, 4, 3), np.uint8)
BODY = np.arange(8, dtype="<f4").tobytes()


def answer(number: str, body: bytes = BODY, **more: object) -> bytes:
    tensor = {"name": "depth", "datatype": "FP32", "shape": [1, 2, 4], **more}
    header = json.dumps({"id": number, "outputs": [tensor]}).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(header) + len(body)}\r\n"
    return head.encode() + f"Inference-Header-Content-Length: {len(header)}\r\n\r\n".encode() + header + body


@contextmanager
def server(*answers: bytes, token: str = "") -> Iterator[RestClient]:
    """Gives one after the other, whatever is asked, on as many connections as it takes; then nothing."""
    left = list(answers)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    connections.append(connection)
                    while connection.recv(65536):
                        if left:
                            connection.sendall(left.pop(0))

        connections: list[socket.socket] = []
        thread = threading.Thread(target=serve)
        thread.start()
        address = EndpointAddress("http", "127.0.0.1", listener.getsockname()[1])
        try:
            with closing(RestClient(address, "embedded", token, "")) as client:
                client.connect(time.monotonic() + scaled(2))
                yield client
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            for connection in connections:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            thread.join()
            for connection in connections:
                connection.close()


def ask(client: RestClient, within_s: float = 2.0) -> list[float]:
    return [float(each) for each in client.infer(PICTURES, time.monotonic() + scaled(within_s)).ravel()]


def test_what_came_unasked_is_no_answer() -> None:
    """It would be the next frame's."""
    with server(answer("1") + answer("2", bytes(32))) as client:
        assert ask(client) == list(range(8))
        with pytest.raises(NoAnswer):
            ask(client, 0.3)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"SSH-2.0-OpenSSH_9\r\n", "does not speak HTTP"),
        (b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", "HTTP 302"),
        (b"HTTP/1.1 500 No\r\nContent-Length: 26\r\n\r\n" + b'{"error": "at\\u0000\\nonce"}', "HTTP 500"),
        (answer("2"), "another request"),
        (answer("1", shape="12"), "not"),
        (answer("1", shape=None), "describes its outputs"),
        (answer("1", shape=[1, 2, 1e999]), "describes its outputs"),
        (answer("1", BODY[:-1]), "31 bytes"),
        (answer("1").replace(b"Content-Length: 1", b"Content-Length: 9"), "in time"),
        (answer("1").replace(b"Header-Content-Length: 8", b"Header-Content-Length: -8"), "cannot be"),
        (answer("1").replace(b"Header-Content-Length: 8", b"Header-Content-Length: 999999"), "cannot be"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffff\r\n" + bytes(200_000), "more than"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n" + bytes(200_000), "more than"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000, "more than"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100002\r\n\r\n" + b"[" * 100_000, "more than"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n" + b"[" * 60_000, "raw bytes"),
    ],
)
def test_what_is_no_answer(data: bytes, reason: str) -> None:
    with server(data) as client, pytest.raises(NoAnswer, match=reason) as refused:
        ask(client, 0.5)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("said", [b"no: Bearer %b", b'{"error": "%b is not known"}'])
def test_what_let_us_in_is_not_repeated(said: bytes) -> None:
    token = "abcdefgh" * 40
    body = said % token.encode()
    refusal = b"HTTP/1.1 401 No\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    with server(refusal, token=token) as client, pytest.raises(NoAnswer, match=r"HTTP 401: .*\*\*\*") as refused:
        ask(client)
    assert "abcd" not in str(refused.value)


def test_nothing_at_all_in_time() -> None:
    with server() as client, pytest.raises(Late):
        ask(client, 0.2)


@pytest.mark.parametrize("host", ["no-such-name.invalid", "a" * 70 + ".invalid"])
def test_a_name_that_is_not_known(host: str) -> None:
    client = RestClient(EndpointAddress("http", host, 80), "embedded", "", "")
    with pytest.raises(NoAnswer, match="is not known here"):
        client.connect(time.monotonic() + 1)
