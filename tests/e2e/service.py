"""streamd as a service of a machine (tests/e2e/machine.py). It has no internet: environments find what streamd needs in
the one that runs these tests."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.e2e.machine import REPOSITORY, Machine

START_S = 90.0
WATCHDOG_S = 4
PYTHON_OF_THIS_TEST = "/usr/local/bin/python-of-this-test"
PYTHON = """#!/bin/sh
{python}/bin/python3 "$@" || exit
case "$*" in
*"-m venv"*)
    for home; do :; done
    echo 'import sys; sys.path[-1:-1] = {packages}' > "$(echo "$home"/lib/python3*/site-packages)/test.pth" ;;
esac
"""


class Service:
    """streamd on a machine, and its API."""

    def __init__(self, machine: Machine, port: int) -> None:
        self.machine = machine
        self.port = port

    def installer(self, action: str, *options: str, checkout: str = "", check: bool = True) -> str:
        """What it prints. ``make`` does the same. pip finds all it needs in the environment that runs these tests."""
        command = self.installer_command(action, *options, checkout=checkout)
        return self.machine.run(*command, within_s=2 * START_S, check=check)

    def start_installer(self, *options: str, checkout: str) -> subprocess.Popen[bytes]:
        command = self.machine.command(*self.installer_command("install", *options, checkout=checkout))
        environment = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin"}
        return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def installer_command(self, action: str, *options: str, checkout: str = "") -> tuple[str, ...]:
        offline = ("PIP_NO_INDEX=1", "PIP_FIND_LINKS=")
        here, python = checkout or self.machine.inside(str(REPOSITORY)), self.machine.inside(sys.executable)
        return ("env", "-C", here, *offline, python, "-B", "-m", "streamd.installer", action, *options)

    def configure(self, *more: str, server: str = "") -> None:
        text = f"""
            [server]
            {server or f'listen = "127.0.0.1:{self.port}"'}
            [model]
            name = "embedded"
            [recording]
            directory = "/var/lib/streamd/recordings"
            [streams.demo]
            source = "demo:"
            loop = true
        """
        text = "\n".join(line.strip() for line in text.splitlines())
        self.machine.write("/etc/streamd/streamd.toml", "\n".join((text, *more)))

    def show(self, key: str) -> str:
        return self.machine.show("streamd.service", key)

    @property
    def pid(self) -> int:
        """As this machine counts."""
        inside = self.show("MainPID")
        for entry in Path("/proc").glob("[0-9]*/status"):
            try:
                numbers = re.search(r"^NSpid:\s+(\d+)\s+(\d+)$", entry.read_text(), re.MULTILINE)
            except OSError:
                continue
            if numbers and numbers[2] == inside and _lives_in(int(numbers[1]), self.machine.pid):
                return int(numbers[1])
        raise AssertionError(f"no process {inside}")

    def journal(self) -> str:
        return self.machine.journal("streamd.service")

    def get(self, path: str) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
            assert answer.status == 200, body
            return body
        finally:
            connection.close()

    def ask(self, method: str, path: str, token: str, body: bytes | None = None) -> int:
        """The status of the answer."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request(method, path, body, {**headers, "Content-Type": "application/json"})
            return connection.getresponse().status
        finally:
            connection.close()

    def stream(self, name: str) -> dict[str, Any]:
        described: dict[str, Any] = json.loads(self.get(f"/api/v1/streams/{name}"))
        return described

    def reason(self, stream: str) -> str:
        """Empty while there is none, and before a reload has made the stream."""
        described = json.loads(self.get("/api/v1/streams"))["streams"]
        return next((one["reason"] or "" for one in described if one["name"] == stream), "")

    def serves(self) -> bool:
        """Whether depth comes out."""
        try:
            return bool(self.stream("demo")["fps_out"] > 0)
        except (OSError, http.client.HTTPException):
            return False

    @contextmanager
    def watched(self) -> Iterator[Viewer]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", "/api/v1/streams/demo/mjpeg?view=depth")
            yield Viewer(connection.getresponse())
        finally:
            connection.close()


class Viewer:
    """Who watches by MJPEG, on one connection."""

    def __init__(self, answer: http.client.HTTPResponse) -> None:
        assert answer.status == 200
        self._answer = answer

    def sees(self, pictures: int = 5) -> bool:
        seen = 0
        while seen < pictures:
            line = self._answer.readline()
            assert line, "the connection was closed"
            seen += line.lower().startswith(b"content-length:")
        return True


def prepare(machine: Machine, cache: Path) -> Service:
    """Configured, with the network prepared but for what is compiled for this CPU; not installed yet."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        service = Service(machine, free.getsockname()[1])
    service.configure()
    own = machine.environment_of_its_own()
    settings = [f"Environment={name}={value}" for name, value in own.items()] + [f"WatchdogSec={WATCHDOG_S}"]
    machine.write("/etc/systemd/system/streamd.service.d/test.conf", "\n".join(("[Service]", *settings, "")))
    machine.write("/etc/streamd/secrets/door", "the password\n", 0o600)
    place = machine.disk / "var/cache/private/streamd"
    shutil.copytree(cache, place, ignore=shutil.ignore_patterns("blobs", ".*"))
    place.parent.chmod(0o700)
    # Its environments see what streamd needs where these tests see it.
    packages = [machine.inside(entry) for entry in sys.path if entry.endswith("-packages")]
    machine.write(PYTHON_OF_THIS_TEST, PYTHON.format(python=machine.python, packages=json.dumps(packages)), 0o755)
    return service


def _lives_in(pid: int, machine: int) -> bool:
    try:
        return os.readlink(f"/proc/{pid}/ns/pid") == os.readlink(f"/proc/{machine}/ns/pid")
    except OSError:
        return False
