"""RTSP cameras that would steer us: redirects to other services, and the login they would have sent there."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Iterator
from itertools import islice

import pytest

from streamd.config.sections import StreamConfig
from streamd.errors import SourceError, SourceRejected, SourceUnreachable
from streamd.sources import open_source
from tests.support.clips import number_in, write_clip
from tests.unit.sources.peers import Film, Script, peer, rtsp

pytestmark = pytest.mark.timeout(30)
REFUSED = "refused"
LOGINS = ("", "jo:secret@")


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Film:
    return Film(write_clip(tmp_path_factory.mktemp("rtsp") / "a.mp4", 48), fps=100)


@pytest.fixture
def trap() -> Iterator[str]:
    """A service of this machine that no camera has a business with; it would ask for a login."""
    asked: list[str] = []

    def script(connection: socket.socket, stop: threading.Event) -> None:
        asked.append("connected")
        rtsp(log=asked, refuse={"OPTIONS": '401 Unauthorized\r\nWWW-Authenticate: Basic realm="x"'})(connection, stop)

    with peer(script) as address:
        yield address
        assert asked == []


def redirect(to: str, method: str = "DESCRIBE", status: str = "302 Moved", **options: object) -> Script:
    return rtsp(refuse={method: f"{status}\r\nLocation: {to}"}, **options)  # type: ignore[arg-type]


def watch(address: str, login: str = "", count: int = 5, path: str = "/live", **settings: str) -> list[int]:
    config = StreamConfig(source=f"rtsp://{login}{address}{path}", read_timeout_s=2, **settings)  # type: ignore[arg-type]
    with contextlib.closing(open_source(config, threading.Event()).frames()) as frames:
        return [number_in(frame) for frame in islice(frames, count)]


@pytest.mark.parametrize("login", LOGINS)
@pytest.mark.parametrize(
    "status", ["300 Choice", "301 Moved", "302 Moved", "303 Other", "305 Proxy", "307 Moved", "399 X"]
)
def test_every_kind_of_redirect_is_refused(trap: str, status: str, login: str) -> None:
    with peer(redirect(f"rtsp://{trap}/x", status=status)) as camera, pytest.raises(SourceRejected, match=REFUSED):
        watch(camera, login)


@pytest.mark.parametrize("transport", ["tcp", "udp", "auto"])
@pytest.mark.parametrize("method", ["OPTIONS", "DESCRIBE", "SETUP", "PLAY"])
def test_at_every_step(trap: str, method: str, transport: str) -> None:
    camera = redirect(f"rtsp://{trap}/x", method)
    with peer(camera) as address, pytest.raises(SourceRejected, match=REFUSED):
        watch(address, transport=transport)


@pytest.mark.parametrize(
    "to",
    [
        "rtsp://127.0.0.2:554/",
        "rtsp://localhost:{}/",
        "rtsp://[::1]:554/",
        "rtsp://0.0.0.0:{}/",
        "rtsp://169.254.169.254/latest",
        "rtsp://[fe80::1]/",
        "rtsp://10.0.0.1/",
        "rtsp://192.168.0.1/",
        "rtsp://224.0.0.1/",
        "rtsps://127.0.0.1:{}/",
        "http://127.0.0.1:{}/",
        "file:///etc/passwd",
        "",
        "\xff",
    ],
)
def test_a_redirect_to_anywhere_is_refused(trap: str, to: str) -> None:
    where = to.format(trap.rpartition(":")[2])
    with peer(redirect(where)) as camera, pytest.raises(SourceRejected, match=REFUSED):
        watch(camera, "jo:secret@")


def test_a_camera_that_changes_its_mind_gains_nothing(trap: str, film: Film) -> None:
    """Harmless at its first connections, it redirects the next."""
    scripts = iter([rtsp(film.play, login=("jo", "secret")), redirect(f"rtsp://{trap}/x")])
    with peer(lambda connection, stop: next(scripts)(connection, stop)) as camera:
        assert watch(camera, "jo:secret@") == list(range(5))
        with pytest.raises(SourceRejected, match=REFUSED):
            watch(camera, "jo:secret@")


@pytest.mark.parametrize(
    "answer",
    [
        b"RTSP/1.0 302 Moved\nCSeq: 1\nLocation: %s\n\n",
        b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n$\0\0\x10padding\r\nRTSP/1.0 302 M\r\nLocation: %s\r\n\r\n",
        b"RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Length: 3\r\nContent-Length: 0\n\nRTSP/1.0 302\r\nLocation: %s\r\n\r\n",
        b"$\0\0\x04RTSP/1.0 302 M\r\nLocation: %s\r\n\r\n",
        b"\r\n\r\nRTSP/1.0 302 M\r\nLocation: %s\r\n\r\n",
        b"RTSP/1.0 0302 M\r\nLocation: %s\r\n\r\n",
        b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\nRTSP/1.0 302 M\r\nCSeq: 1\r\nLocation: %s\r\n\r\n",
    ],
)
def test_nor_one_that_writes_oddly(trap: str, answer: bytes) -> None:
    def script(connection: socket.socket, stop: threading.Event) -> None:
        connection.recv(4096)
        connection.sendall(answer.replace(b"%s", f"rtsp://{trap}/x".encode()))
        stop.wait(0.5)

    with peer(script) as camera, pytest.raises(SourceError):
        watch(camera, "jo:secret@")


@pytest.mark.parametrize("transport", ["tcp", "udp"])
@pytest.mark.parametrize("to", ["rtsp://{}/deep/live?a=b", "/deep/live?a=b"])
def test_a_redirect_within_the_camera_is_followed(film: Film, to: str, transport: str) -> None:
    log: list[str] = []
    moved = rtsp(film.play, login=("jo", "secret"), log=log)

    def script(connection: socket.socket, stop: threading.Event) -> None:
        first = redirect(to.format(f"127.0.0.1:{connection.getsockname()[1]}"), "OPTIONS", log=log)
        (moved if log else first)(connection, stop)

    with peer(script) as camera:
        assert watch(camera, "jo:secret@", transport=transport) == list(range(5))
    uris = [request.split()[1] for request in log]
    assert uris[:2] == [f"rtsp://{camera}/live", f"rtsp://{camera}/deep/live?a=b"]
    assert all(uri.startswith(f"rtsp://{camera}/deep/live") for uri in uris[1:])


def test_a_redirect_without_end_ends() -> None:
    log: list[str] = []
    with peer(redirect("/again", log=log)) as camera, pytest.raises(SourceUnreachable, match="redirects without end"):
        watch(camera)
    assert sum(request.startswith("DESCRIBE") for request in log) == 9


def test_the_camera_sees_its_own_address_and_the_login_only_when_it_asks(film: Film) -> None:
    log: list[str] = []
    with peer(rtsp(film.play, login=("jo", "secret"), log=log)) as camera:
        assert watch(camera, "jo:secret@") == list(range(5))
    assert all(request.split()[1].startswith(f"rtsp://{camera}/live") for request in log)
    assert [("Authorization" in request) for request in log[:3]] == [False, False, True]
    assert all("Authorization" in request for request in log[2:])
    assert [re.findall(r"CSeq: (\d+)", request) for request in log] == [[str(n + 1)] for n in range(len(log))]


def test_a_wrong_password_is_tried_once() -> None:
    """Some cameras lock an account after a few."""
    log: list[str] = []
    with peer(rtsp(login=("jo", "other"), log=log)) as camera, pytest.raises(SourceRejected, match="access refused"):
        watch(camera, "jo:secret@")
    assert sum("Authorization" in request for request in log) == 1


def test_packets_by_udp_go_to_the_camera_only(film: Film) -> None:
    """Not where its ``source=`` says."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.2", 0))
        other.settimeout(0.5)
        port = other.getsockname()[1]
        header = (
            f"200 OK\r\nTransport: RTP/AVP;unicast;client_port=5000-5001;server_port={port}-{port};source=127.0.0.2"
        )
        with peer(rtsp(refuse={"SETUP": header})) as camera, pytest.raises(SourceError):
            watch(camera, transport="udp")
        with pytest.raises(TimeoutError):
            other.recv(100)


def test_a_program_that_does_not_know_the_address_gets_nothing(film: Film, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another of this machine, which comes before FFmpeg."""
    from streamd.sources import rtsp_relay

    strangers: list[bytes] = []
    enter = rtsp_relay.RtspRelay.__enter__

    def intrude(relay: rtsp_relay.RtspRelay) -> rtsp_relay.RtspRelay:
        with socket.create_connection(relay._listener.getsockname()[:2]) as stranger:
            stranger.sendall(b"DESCRIBE rtsp://127.0.0.1/live RTSP/1.0\r\nCSeq: 1\r\n\r\n")
            enter(relay)
            with contextlib.suppress(ConnectionResetError):
                strangers.append(stranger.recv(100))
        return relay

    monkeypatch.setattr(rtsp_relay.RtspRelay, "__enter__", intrude)
    with peer(rtsp(film.play, login=("jo", "secret"))) as camera:
        assert watch(camera, "jo:secret@") == list(range(5))
    assert strangers in ([], [b""])


def test_no_thread_stays(film: Film) -> None:
    before = threading.active_count()
    with peer(rtsp(film.play)) as camera:
        watch(camera)
    assert threading.active_count() == before
    assert not [thread for thread in threading.enumerate() if thread.name == "rtsp-relay"]
