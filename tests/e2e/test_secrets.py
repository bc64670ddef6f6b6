"""A secret in every place where one can be, a daemon that is provoked to talk about it, and a look at everything it
says, writes and hands on."""

from __future__ import annotations

import base64
import hashlib
import http.client
import http.server
import json
import signal
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from tests.e2e.conftest import StartDaemon
from tests.e2e.processes import Answer, Daemon, command_line
from tests.support.camera import INSTALLED, Camera, cameras, needs_rtsp_server
from tests.support.ports import free_port
from tests.support.secrets import Scanner, forms
from tests.support.settings import write_settings
from tests.support.waiting import until

AWAY = "127.0.0.1:9"
NAMES = [
    "password in a URL",
    "password that should have been escaped",
    "password that is escaped",
    "password in a query",
    "token in a query",
    "password in a path",
    "password in the environment",
    "login in the environment",
    "password in a file",
    "password on the command line",
    "wrong password of a camera",
    "right password of a camera",
    "password of a camera that answers 401",
    "source in the environment",
    "view token",
    "view token in the environment",
    "view token in a file",
    "control token",
    "control token in the environment",
    "TURN credential",
    "TURN credential in the environment",
    "wrong bearer",
    "wrong cookie",
    "wrong login",
    "token in a query of ours",
    "password through the API",
    "password in a bad body",
    "password in a bad configuration",
    "token in a bad configuration",
    "credential in a bad configuration",
    "credential in a TURN URL",
]
SHAPES = {
    "password that should have been escaped": "{}/ex@m",
    "password that is escaped": "{}/p@ss:w%rd",
    "password in the environment": "{} ex:a@ple",
}
SECRETS = {name: SHAPES.get(name, "{}").format(hashlib.sha256(name.encode()).hexdigest()[:16]) for name in NAMES}
"""No two have more in common than chance has it."""
LINKED = {"TURN credential", "TURN credential in the environment"}
"""Sent to those who may view, and in the Link header of WHEP only: they need them."""
VIEW, CONTROL = SECRETS["view token in a file"], SECRETS["control token in the environment"]
SCANNER = Scanner(SECRETS)


@pytest.mark.parametrize("name", NAMES)
def test_the_scanner_finds_it_in_any_form(name: str) -> None:
    """Else all that follows shows nothing."""
    secret = SECRETS[name]
    login = base64.b64encode(f"admin:{secret}".encode()).decode()
    hidden = [secret, quote(secret, safe=""), json.dumps({"a": secret}), repr([secret]), f"Basic {login}"]
    for text in hidden:
        assert SCANNER.found(f"something {text} else") == {name}
    assert all(SCANNER.found(form) == {name} for form in forms(secret))


# -- the daemon -----------------------------------------------------------------------------------


class Refusing(http.server.BaseHTTPRequestHandler):
    """A camera that repeats what it is asked with."""

    def do_GET(self) -> None:
        body = f"not with {self.path} {self.headers.get('Authorization')}".encode()
        self.send_response(401, f"no, {self.headers.get('Authorization')}")
        self.send_header("WWW-Authenticate", 'Basic realm="camera"')
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def refusing() -> Iterator[int]:
    """Its port."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def camera(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Camera | None]:
    """One that asks for a digest; None where there is no GStreamer, of which another test tells."""
    if not INSTALLED:
        yield None
        return
    with cameras(tmp_path_factory.mktemp("camera")) as start:
        yield start("--digest", f"user:{SECRETS['right password of a camera']}")


Section = dict[str, object]
Streams = dict[str, Section]


@dataclass
class Case:
    """A daemon and all that it has put out."""

    folder: Path
    streams: Streams
    sections: Streams
    servers: list[Section]
    began: float = field(default_factory=time.time)
    reported: dict[str, bytes] = field(default_factory=dict)
    answers: list[tuple[str, str, str, Answer]] = field(default_factory=list)
    """(who, method, path, answer)."""
    _daemon: Daemon | None = None

    @property
    def daemon(self) -> Daemon:
        assert self._daemon is not None
        return self._daemon

    @property
    def config(self) -> Path:
        return self.folder / "streamd.toml"

    def start(self, start: StartDaemon, *options: str) -> None:
        self.write()
        self._daemon = start("--config", self.config, *options, **ENVIRONMENT)

    def ask(
        self, who: str, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        bearer = {"view": VIEW, "control": CONTROL}.get(who)
        given = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        answer = self.daemon.request(method, path, body, {**given, **(headers or {})})
        self.answers.append((who, method, path, answer))
        return answer

    def states(self) -> dict[str, str]:
        return {each["name"]: each["state"] for each in self.ask("view", "GET", "/api/v1/streams").json["streams"]}

    def write(
        self, streams: Streams | None = None, servers: list[dict[str, object]] | None = None, **sections: Section
    ) -> None:
        """The configuration, with these changes."""
        write_settings(self.config, {**self.streams, **(streams or {})}, **{**self.sections, **sections})
        with self.config.open("a") as file:
            for server in self.servers if servers is None else servers:
                file.write("[[webrtc.ice_servers]]\n")
                file.writelines(f"{key} = {json.dumps(value)}\n" for key, value in server.items())

    def reload(self, logged: str, **changes: Any) -> None:
        """SIGHUP with these changes; waits for that line of the log."""
        before = self.daemon.log.count(logged)
        self.write(**changes)
        self.daemon.process.send_signal(signal.SIGHUP)
        until(f"it logs {logged}", lambda: self.daemon.log.count(logged) > before)


def sources(camera: Camera | None, refusing: int, folder: Path) -> dict[str, str]:
    """By the name of the stream."""
    (folder / "password").write_text(SECRETS["password in a file"] + "\n")
    found = {
        "plain": f"rtsp://admin:{SECRETS['password in a URL']}@{AWAY}/x",
        "unescaped": f"rtsp://admin:{SECRETS['password that should have been escaped']}@{AWAY}/x",
        "escaped": f"rtsp://admin:{quote(SECRETS['password that is escaped'], safe='')}@{AWAY}/x",
        "query": f"http://{AWAY}/video?user=a&password={SECRETS['password in a query']}"
        f"&token={SECRETS['token in a query']}",
        "path": f"rtsp://{AWAY}/user=admin_password={SECRETS['password in a path']}_channel=1.sdp",
        "environment": f"rtsp://cam:env:CAM_PASSWORD@{AWAY}/x",
        "login": f"rtsp://env:CAM_LOGIN@{AWAY}/x",
        "file": f"rtsp://cam:file:{folder / 'password'}@{AWAY}/x",
        "missing": f"rtsp://cam:env:NOT_THERE@{AWAY}/x",
        "refusing": f"http://user:{SECRETS['password of a camera that answers 401']}@127.0.0.1:{refusing}/video.mjpg",
    }
    if camera is not None:
        wrong = SECRETS["wrong password of a camera"]
        found["wrong"] = camera.url("small", login=f"user:{wrong}")
        found["right"] = camera.url("small", login="user:env:RIGHT_PASSWORD")
    return found


ENVIRONMENT = {
    "CAM_PASSWORD": SECRETS["password in the environment"],
    "CAM_LOGIN": f"admin:{SECRETS['login in the environment']}",
    "RIGHT_PASSWORD": SECRETS["right password of a camera"],
    "VIEWERS": SECRETS["view token in the environment"],
    "TURN_SECRET": SECRETS["TURN credential in the environment"],
    "STREAMD_STREAMS__shell__SOURCE": f"rtsp://admin:{SECRETS['source in the environment']}@{AWAY}/x",
    "STREAMD_SERVER__CONTROL_TOKENS": json.dumps(
        [SECRETS["control token"], SECRETS["control token in the environment"]]
    ),
}


def started(start: StartDaemon, folder: Path, camera: Camera | None, refusing: int, *options: str) -> Case:
    (folder / "token").write_text(SECRETS["view token in a file"] + "\n")
    turn = {"urls": [f"turn:127.0.0.1:{free_port()}?transport=udp"], "username": "viewer"}
    streams: Streams = {name: {"source": source} for name, source in sources(camera, refusing, folder).items()}
    streams["bars"] = {"source": "lavfi:smptebars=size=320x180:rate=10"}
    sections: Streams = {
        "server": {"view_tokens": [SECRETS["view token"], "env:VIEWERS", f"file:{folder / 'token'}"]},
        "recording": {"directory": str(folder / "recordings")},
    }
    servers: list[Section] = [
        {**turn, "credential": SECRETS["TURN credential"]},
        {**turn, "credential": "env:TURN_SECRET"},
    ]
    case = Case(folder, streams, sections, servers)
    case.start(start, f"rtsp://admin:{SECRETS['password on the command line']}@{AWAY}/typed", *options)
    expected = {"bars": "running", "right": "running", "missing": "reconnecting"}
    names = {*streams, "shell", "127.0.0.1-typed"}
    until(
        "all cameras have been tried", lambda: case.states() == {n: expected.get(n, "reconnecting") for n in names}, 40
    )
    return case


@pytest.fixture(scope="module")
def case(
    module_daemon: StartDaemon, tmp_path_factory: pytest.TempPathFactory, camera: Camera | None, refusing: int
) -> Case:
    """Everything has been asked and gone wrong when this returns."""
    case = started(module_daemon, tmp_path_factory.mktemp("secrets"), camera, refusing, "--debug")
    provoke_clients(case)
    provoke_reloads(case)
    walk(case)
    linger(case)
    return case


def provoke_clients(case: Case) -> None:
    """Right and wrong tokens in all ways, and bodies with passwords that are good and bad."""
    for name in ("view token", "view token in the environment", "control token"):
        assert case.ask(name, "GET", "/metrics", headers={"Authorization": f"Bearer {SECRETS[name]}"}).status == 200
    wrong = {"Authorization": f"Bearer {SECRETS['wrong bearer']}"}
    assert case.ask("wrong", "GET", "/api/v1/streams", headers=wrong).status == 401
    assert case.ask("wrong", "POST", "/whep/bars", b"v=0", {**wrong, "Content-Type": "application/sdp"}).status == 401
    cookie = {"Cookie": f"streamd_{urlsplit(case.daemon.url).port}={SECRETS['wrong cookie']}"}
    assert case.ask("wrong", "GET", "/api/v1/streams", headers=cookie).status == 401
    login = json.dumps({"token": SECRETS["wrong login"]}).encode()
    assert case.ask("wrong", "POST", "/api/v1/session", login).status == 401
    assert case.ask("wrong", "GET", f"/metrics?token={SECRETS['token in a query of ours']}").status == 401
    login = json.dumps({"token": VIEW}).encode()
    logged_in = case.ask("login", "POST", "/api/v1/session", login)
    session = {"Cookie": logged_in.headers["Set-Cookie"].partition(";")[0]}
    assert case.ask("cookie", "GET", "/api/v1/session", headers=session).json["access"] == "view"
    late = json.dumps({"source": f"rtsp://late:{SECRETS['password through the API']}@{AWAY}/x"}).encode()
    assert case.ask("control", "PUT", "/api/v1/streams/late", late).status == 201
    until("it was tried", lambda: case.states()["late"] == "reconnecting")
    assert case.ask("control", "PATCH", "/api/v1/streams/late", b'{"max_fps": 5}').status == 200
    url = f"rtsp://u:{SECRETS['password in a bad body']}@{AWAY}/x"
    bad = [
        {"source": [url]},
        {"source": url, "transport": url},
        {"source": url, "max_fps": url},
        {"source": url, "masks": [[url]]},
        {"source": url, "password": SECRETS["password in a bad body"]},
        {"source": {"url": url}},
    ]
    for body in bad:
        for method in ("PUT", "PATCH"):
            answer = case.ask("control", method, "/api/v1/streams/late", json.dumps(body).encode())
            assert answer.status == 422, body
    assert case.ask("control", "PUT", "/api/v1/streams/late", f'{{"source": "{url}"'.encode()).status == 400


def provoke_reloads(case: Case) -> None:
    """SIGHUP with mistakes that hold secrets; nothing of them is taken."""
    password, token = SECRETS["password in a bad configuration"], SECRETS["token in a bad configuration"]
    credential, refused = SECRETS["credential in a bad configuration"], "configuration not taken"
    url = f"rtsp://u:{password}@{AWAY}/x"
    case.reload(refused, streams={"a": {"source": [url], "transport": url}, "b": {"source": url, "range": url}})
    case.reload(refused, streams={"a": {"source": url, "password": password}})
    case.reload(refused, server={"view_tokens": token})
    case.reload(refused, server={"view_tokens": [[token]], "control_token": [token]})
    turn = f"turn:viewer:{SECRETS['credential in a TURN URL']}@127.0.0.1:3478?transport=sctp"
    case.reload(refused, servers=[{"urls": [turn], "credential": [credential], "password": credential}])
    before = case.daemon.log.count("is not TOML")
    case.config.write_text(f'[server]\nview_tokens = ["{token}\n[streams.a]\nsource = "{url}"\n')
    case.daemon.process.send_signal(signal.SIGHUP)
    until("broken TOML is reported", lambda: case.daemon.log.count("is not TOML") > before)
    case.reload("configuration read again")


def walk(case: Case) -> None:
    """Every method of every path, as everybody, right and wrong."""
    described = case.ask("view", "GET", "/openapi.json").json["paths"]
    endless = ("/api/v1/events", "/api/v1/streams/{name}/mjpeg", "/api/v1/streams/{name}/live")
    for path, methods in described.items():
        for who in ("nobody", "view", "control"):
            for method in map(str.upper, methods):
                if method == "GET" and path in endless:
                    continue
                harmless = method in ("GET", "HEAD", "OPTIONS")
                for name in ("refusing", "bars", "nobody") if "{name}" in path and harmless else ("nobody",):
                    filled = path.replace("{name}", name).replace("{session}", "none").replace("{file}", "app.js")
                    case.ask(who, method, filled.replace("{path}", "bars/none.mp4"))
    for name in case.streams:
        case.ask("view", "GET", f"/api/v1/streams/{name}")
    case.ask("view", "GET", "/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    for offer in (b"v=0", b"", b"\xff", b"v=0\r\n" * 1000):
        case.ask("view", "POST", "/whep/bars", offer, {"Content-Type": "application/sdp"})
    case.ask("nobody", "GET", "/nothing")


def linger(case: Case) -> None:
    """The beginning of what has no end."""
    for path in ("/api/v1/events", "/api/v1/streams/refusing/mjpeg", "/api/v1/streams/refusing/live"):
        connection = http.client.HTTPConnection(urlsplit(case.daemon.url).netloc, timeout=20)
        connection.request("GET", path, headers={"Authorization": f"Bearer {VIEW}"})
        response = connection.getresponse()
        assert response.status == 200
        case.reported[path] = str(response.headers).encode() + response.read(3000)
        connection.close()


# -- what was shown -------------------------------------------------------------------------------


def test_the_cameras_have_failed_as_they_should(case: Case) -> None:
    """Each for its own reason: else nothing was provoked."""
    described = {each["name"]: each for each in case.ask("view", "GET", "/api/v1/streams").json["streams"]}
    assert "refused" in described["plain"]["reason"]
    assert "NOT_THERE" in described["missing"]["reason"]
    assert "401" in described["refusing"]["reason"] or "password" in described["refusing"]["reason"]
    assert described["plain"]["source"] == f"rtsp://***@{AWAY}/x"
    assert described["query"]["source"] == f"http://{AWAY}/video?user=a&password=***&token=***"
    assert described["path"]["source"] == f"rtsp://{AWAY}/user=admin_password=***"


@needs_rtsp_server
def test_a_camera_with_digest_refuses_one_and_takes_the_other(case: Case) -> None:
    states = case.states()
    assert (states["wrong"], states["right"]) == ("reconnecting", "running")


def test_log_and_stdout(case: Case) -> None:
    log = case.daemon.log
    assert "DEBUG" in log
    assert "stream refusing: " in log
    # A field each, so that the failure names the place.
    leaks = {line: found for line in log.splitlines() if (found := SCANNER.found(line))}
    assert not leaks
    assert not SCANNER.found(case.daemon.out)


def test_answers_and_their_headers(case: Case) -> None:
    assert len(case.answers) > 150
    assert {answer.status for _, _, _, answer in case.answers} >= {200, 201, 400, 401, 403, 404, 415, 422}
    leaks: dict[tuple[object, ...], set[str]] = {}
    for who, method, path, answer in case.answers:
        headers = [(name, value) for name, value in answer.headers.items() if name != "Link"]
        if found := SCANNER.found(answer.body) | SCANNER.found(repr(headers)):
            leaks[who, method, path, answer.status] = found
    leaks |= {(where,): found for where, reported in case.reported.items() if (found := SCANNER.found(reported))}
    assert not leaks


def test_turn_passwords_only_for_those_who_may_look(case: Case) -> None:
    """They are what a viewer needs (WHEP draft-03, 4.6), in the Link header of its endpoint."""
    seen = set()
    for who, method, path, answer in case.answers:
        reported = SCANNER.found(" ".join(answer.headers.get_all("Link", [])))
        if not reported:
            continue
        seen |= reported
        assert reported == LINKED
        assert who in ("view", "control"), (who, method, path)
        assert path.startswith("/whep/"), path
        assert (method, answer.status) in (("GET", 200), ("HEAD", 200)), (method, path, answer.status)
    assert seen == LINKED


def test_what_other_users_of_the_machine_see(case: Case) -> None:
    """/proc/PID/cmdline is open to all."""
    daemon, worker = case.daemon.pid, case.daemon.worker()
    assert worker
    assert "rtsp://***@" in command_line(daemon)
    assert Path(f"/proc/{daemon}/comm").read_text().strip() == Path(sys.executable).name[:15], "what top shows"
    for pid in (daemon, worker):
        assert not SCANNER.found(Path(f"/proc/{pid}/cmdline").read_bytes())


def test_the_worker_gets_no_secret(case: Case) -> None:
    environment = Path(f"/proc/{case.daemon.worker()}/environ").read_bytes()
    assert b"STREAMD_HOME=" in environment
    assert not SCANNER.found(environment)
    assert not [name for name in ENVIRONMENT if name.encode() + b"=" in environment]


def test_files(case: Case) -> None:
    """Names and contents of what streamd writes: recordings, caches, manifests."""
    recordings = list((case.folder / "recordings").rglob("*"))
    assert any(path.suffix == ".mp4" for path in recordings)
    home = [*case.daemon.home.rglob("*"), *(case.daemon.home / "cache").rglob("*")]
    assert len(home) > 5
    for path in (*recordings, *home):
        assert not SCANNER.found(str(path)), path
        # What others have put into the cache before is large.
        if path.is_file() and path.stat().st_mtime > case.began and path.name != "streams.json":
            assert not SCANNER.found(path.read_bytes()), path


def test_streams_that_the_api_added_are_kept_for_the_user_of_the_daemon_only(case: Case) -> None:
    """With their passwords, as a configuration file has them."""
    kept = case.daemon.home / "streams.json"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert SCANNER.found(kept.read_bytes()) <= {"password through the API"}


def test_the_log_for_machines(daemon: StartDaemon, tmp_path: Path, camera: Camera | None, refusing: int) -> None:
    case = started(daemon, tmp_path, camera, refusing, "--log-format", "json")
    password, token = SECRETS["password in a bad configuration"], SECRETS["token in a bad configuration"]
    bad = {"a": {"source": [f"rtsp://u:{password}@{AWAY}/x"], "password": password}}
    # One only: faults that repeat are not logged again.
    case.reload("configuration not taken", streams=bad, server={"view_tokens": token, "token": token})
    lines = [json.loads(line) for line in case.daemon.log.splitlines()]
    assert any(line.get("stream") == "refusing" for line in lines)
    assert any("configuration not taken" in line["message"] for line in lines)
    leaks = {line: found for line in case.daemon.log.splitlines() if (found := SCANNER.found(line))}
    assert not leaks
    assert not SCANNER.found(case.daemon.out)
