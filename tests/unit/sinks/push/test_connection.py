"""Connections to servers: what is said of those that cannot be had, and that certificates are checked."""

from __future__ import annotations

import asyncio
import socket
import ssl
from pathlib import Path

import pytest

from streamd.config.address import SourceAddress
from streamd.config.push import PushTarget
from streamd.errors import PushFailed
from streamd.sinks.push import connection
from streamd.sinks.push.connection import connected, login_of
from tests.support.certificates import make_certificate
from tests.support.taker import listening, says


async def failure(url: str) -> str:
    address = SourceAddress.parse(url)
    with pytest.raises(PushFailed) as caught:
        async with connected(address, tls=address.scheme == "rtsps"):
            pass
    assert not caught.value.refused
    return caught.value.reason


async def test_nobody_listens() -> None:
    async with listening(says(b"")) as port:
        pass
    assert await failure(f"rtsp://127.0.0.1:{port}/") == "connection refused"


async def test_a_name_that_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    def look_up(*_: object, **__: object) -> object:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    assert await failure("rtsp://no.such.example/") == "its name is not known here"


async def test_a_host_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "DIAL_S", 0.1)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full, socket.socket() as waiting:
        waiting.connect(full.getsockname())  # takes the only place: whoever else knocks gets no answer
        with socket.socket() as more:
            more.setblocking(False)
            more.connect_ex(full.getsockname())
            assert await failure(f"rtsp://127.0.0.1:{full.getsockname()[1]}/") == "does not answer"


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    return make_certificate(tmp_path, "push")


async def test_a_certificate_is_checked(certificate: tuple[Path, Path]) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*certificate)
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0, ssl=context)
    port = server.sockets[0].getsockname()[1]
    try:
        assert await failure(f"rtsps://127.0.0.1:{port}/") == "its certificate is refused: self-signed certificate"
    finally:
        server.close()
        await server.wait_closed()


async def test_one_that_speaks_no_tls() -> None:
    async with listening(says(b"RTSP/1.0 400 Bad Request\r\n\r\n")) as port:
        assert await failure(f"rtsps://127.0.0.1:{port}/") == "does not speak TLS as it should"


async def test_a_password_in_a_file_is_read_anew(tmp_path: Path) -> None:
    file = tmp_path / "password"
    target = PushTarget.parse(f"rtsp://me:file:{file}@h/")
    with pytest.raises(PushFailed, match="cannot read its password") as caught:
        await login_of(target)
    assert caught.value.refused
    for password in ("one", "two"):
        file.write_text(password + "\n")
        assert await login_of(target) == ("me", password)
