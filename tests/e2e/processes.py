"""streamd as a child process: the daemon and its API, and commands that end by themselves."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from prometheus_client.parser import text_string_to_metric_families

from tests.support.waiting import scaled, until

STOP_S = 5.0
"""SIGTERM to exit."""
# Nobody listens there: whatever wants the internet is offline at once.
OFFLINE = dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), "http://127.0.0.1:9")
OFFLINE |= dict.fromkeys(("no_proxy", "NO_PROXY"), "127.0.0.1")  # but for what is on this box


def environment_of(home: Path, **more: str) -> dict[str, str]:
    """Nothing of streamd's from outside, models and cache in ``home``, no internet."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("STREAMD_", "COVERAGE_"))}
    return {**inherited, **OFFLINE, "STREAMD_HOME": str(home), **more}


@dataclass(frozen=True)
class Ended:
    """What a command did."""

    code: int
    stdout: str
    stderr: str

    @property
    def error_line(self) -> str:
        """The one line on stderr. Fails when there are more, or none."""
        lines = self.stderr.splitlines()
        assert len(lines) == 1, self.stderr
        assert "Traceback" not in self.stderr
        return lines[0]


def streamd(home: Path, *arguments: str | Path, within_s: float = 60.0, **environment: str) -> Ended:
    """A command, run to its end."""
    done = subprocess.run(
        [sys.executable, "-m", "streamd", *map(str, arguments)],
        env=environment_of(home, **environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=scaled(within_s),
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)


@dataclass(frozen=True)
class Answer:
    """Of the HTTP server."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        assert self.headers.get_content_type() == "application/json", self.headers
        return json.loads(self.body)

    @property
    def error(self) -> tuple[int, str]:
        """(status, code) of an error in the house's form."""
        error = self.json["error"]
        assert isinstance(error["message"], str)
        assert error["message"]
        return self.status, error["code"]


class Metrics:
    """The values of /metrics at one moment."""

    def __init__(self, text: str) -> None:
        families = list(text_string_to_metric_families(text))
        self.samples = [sample for family in families for sample in family.samples]

    def value(self, name: str, **labels: str) -> float:
        """The sum of all series that have these labels."""
        return sum(s.value for s in self.samples if s.name == name and labels.items() <= s.labels.items())

    def names(self) -> set[str]:
        return {sample.name for sample in self.samples}


@dataclass(frozen=True)
class Window:
    """What happened between two looks at /metrics."""

    before: Metrics
    after: Metrics

    def more(self, name: str, **labels: str) -> float:
        """How much a counter grew."""
        return self.after.value(name, **labels) - self.before.value(name, **labels)

    def mean(self, histogram: str, **labels: str) -> float:
        return self.more(f"{histogram}_sum", **labels) / self.more(f"{histogram}_count", **labels)

    def quantile(self, share: float, histogram: str, **labels: str) -> float:
        """As Prometheus reckons it: straight lines between the edges of the buckets."""
        edges = sorted(
            (float(s.labels["le"]), self.more(s.name, **labels, le=s.labels["le"]))
            for s in self.after.samples
            if s.name == f"{histogram}_bucket" and labels.items() <= s.labels.items()
        )
        wanted, below, counted = share * edges[-1][1], 0.0, 0.0
        for edge, count in edges:
            if count >= wanted and count > counted:
                return below + (edge - below) * (wanted - counted) / (count - counted)
            below, counted = edge, count
        raise AssertionError(f"{histogram} counted nothing")


@dataclass
class Daemon:
    """``streamd run``, listening on a free port of 127.0.0.1."""

    arguments: tuple[str, ...]
    home: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    stderr: int | None = None
    """A descriptor; else it is ``log``."""
    url: str = ""
    started_at: float = 0.0
    _process: subprocess.Popen[bytes] | None = None

    def start(self) -> Daemon:
        """Returns when it listens."""
        command = [sys.executable, "-m", "streamd", "run", "--listen", "127.0.0.1:0", *self.arguments]
        with self._file("out").open("wb") as out, self._file("log").open("wb") as log:
            self.started_at = time.monotonic()
            environment = environment_of(self.home, **self.environment)
            self._process = subprocess.Popen(
                command, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=self.stderr or log
            )
        self.url = until("the daemon prints its address", self._address)
        return self

    def _address(self) -> str:
        assert self.running, f"the daemon ended with {self.process.returncode}:\n{self.log}"
        found = re.search(r"^Watch live depth at (https?://127\.0\.0\.1:\d+/)$", self.out, re.MULTILINE)
        return found[1] if found else ""

    def _file(self, kind: str) -> Path:
        return self.home / f"daemon.{kind}"

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    @property
    def out(self) -> str:
        return self._file("out").read_text()

    @property
    def log(self) -> str:
        return self._file("log").read_text()

    # -- its end ------------------------------------------------------------------------------

    def kill(self) -> None:
        """As a power cut would, and waits for it."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM. The exit code; fails when that takes longer than it may."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(scaled(STOP_S))
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running {scaled(STOP_S):g} s after SIGTERM:\n{self.log}") from None

    def close(self) -> None:
        """What a test leaves behind must still end well: in time, with 0, without a traceback."""
        if self._process is None:
            return
        family = [self.pid, *self.children()]
        try:
            if self.running:
                assert self.stop() == 0, self.log
            assert "Traceback" not in self.log, self.log
            assert "internal error" not in self.log, self.log
            until("all its children have ended", lambda: not any(map(alive, family)), within_s=5)
        finally:
            for pid in family:
                if alive(pid):
                    os.kill(pid, signal.SIGKILL)
            self.process.wait()

    # -- its children -------------------------------------------------------------------------

    def children(self) -> list[int]:
        return [pid for pid, parent in _processes() if parent == self.pid]

    def workers(self) -> list[int]:
        return [pid for pid in self.children() if "streamd.depth.worker" in command_line(pid)]

    def worker(self) -> int:
        """The process id of its depth worker, once a change of one for another is over; 0 when there is none."""

        def left() -> list[int]:
            workers = self.workers()
            return (workers or [0]) if len(workers) < 2 else []

        return until("there is one worker", left)[0]

    # -- its API ------------------------------------------------------------------------------

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=30)
        try:
            try:
                connection.request(method, path, body, dict(headers or {}))
            except (BrokenPipeError, ConnectionResetError):
                pass  # it has heard enough; the answer is there all the same
            response = connection.getresponse()
            return Answer(response.status, response.headers, response.read())
        finally:
            connection.close()

    def connect(self) -> socket.socket:
        """For what is no HTTP."""
        address = urlsplit(self.url)
        return socket.create_connection((address.hostname or "", address.port or 0), timeout=10)

    def get(self, path: str, **headers: str) -> Answer:
        return self.request("GET", path, headers=headers)

    def metrics(self) -> Metrics:
        return Metrics(self.get("/metrics").text)

    def stream(self, name: str) -> dict[str, Any]:
        answer = self.get(f"/api/v1/streams/{name}")
        assert answer.status == 200, answer.text
        described: dict[str, Any] = answer.json
        return described

    def state(self, name: str) -> str:
        return str(self.stream(name)["state"])

    def until_ready(self, within_s: float = 30.0) -> Daemon:
        until("model and streams are ready", lambda: self.get("/readyz?strict=1").status == 200, within_s)
        return self


def _processes() -> Iterator[tuple[int, int]]:
    """(process, its parent) of all that run."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            fields = _stat(int(entry.name))
            if fields and fields[0] != "Z":
                yield int(entry.name), int(fields[1])


def _stat(pid: int) -> list[str]:
    """From the state on; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def alive(pid: int) -> bool:
    return _stat(pid)[:1] not in ([], ["Z"], ["X"])


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def resident_mb(pid: int) -> float:
    found = re.search(r"^VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1]) * 1024 / 1e6
