"""HTTPS: the page, its cookie, and a certificate that is replaced while the daemon runs."""

from __future__ import annotations

import http.client
import json
import signal
import ssl
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.e2e.conftest import StartDaemon
from tests.e2e.processes import Daemon, streamd
from tests.support.certificates import make_certificate
from tests.support.waiting import until

TOKEN = "a-token-of-the-test"


def ask(daemon: Daemon, method: str, path: str, trusted: Path, body: bytes | None = None) -> http.client.HTTPResponse:
    context = ssl.create_default_context(cafile=str(trusted))
    connection = http.client.HTTPSConnection(urlsplit(daemon.url).netloc, timeout=10, context=context)
    connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
    response = connection.getresponse()
    response.read()
    connection.close()
    return response


def subject(daemon: Daemon) -> str:
    """Of the certificate that new connections get."""
    host, port = urlsplit(daemon.url).hostname or "", urlsplit(daemon.url).port or 0
    found = ssl.get_server_certificate((host, port), timeout=10)
    shown = subprocess.run(["openssl", "x509", "-noout", "-subject"], input=found, text=True, capture_output=True)
    return shown.stdout.rpartition("=")[2].strip()


@pytest.fixture
def config(tmp_path: Path) -> Path:
    certificate, key = make_certificate(tmp_path, "first")
    path = tmp_path / "streamd.toml"
    path.write_text(
        f'[server]\nview_tokens = ["{TOKEN}"]\ntls_certificate = "{certificate}"\ntls_key = "{key}"\n'
        '[streams.test]\nsource = "lavfi:testsrc2=size=64x48:rate=2"\nmode = "on_demand"\n'
    )
    return path


def test_the_page_by_https_with_a_cookie_for_https_only(daemon: StartDaemon, config: Path) -> None:
    running = daemon("--config", config)
    assert running.url.startswith("https://")
    certificate = config.parent / "certificate.pem"
    assert ask(running, "GET", "/", certificate).status == 200
    login = ask(running, "POST", "/api/v1/session", certificate, json.dumps({"token": TOKEN}).encode())
    assert login.status in (200, 201, 204)
    assert "Secure" in (login.getheader("Set-Cookie") or "")


def test_a_new_certificate_on_sighup_and_the_old_one_when_it_is_bad(daemon: StartDaemon, config: Path) -> None:
    running = daemon("--config", config)
    assert subject(running) == "first"
    make_certificate(config.parent, "second")
    running.process.send_signal(signal.SIGHUP)
    until("the new certificate is shown", lambda: subject(running) == "second")
    (config.parent / "certificate.pem").write_text("no certificate")
    running.process.send_signal(signal.SIGHUP)
    until("it is refused", lambda: "are no PEM certificate and its key" in running.log)
    assert subject(running) == "second"


def test_files_that_are_no_certificate_are_a_bad_configuration(config: Path, home: Path) -> None:
    (config.parent / "key.pem").write_text("no key")
    ended = streamd(home, "run", "--listen", "127.0.0.1:0", "--config", config)
    assert ended.code == 78
    assert "are no PEM certificate and its key" in ended.stderr
    (config.parent / "key.pem").unlink()
    ended = streamd(home, "run", "--listen", "127.0.0.1:0", "--config", config)
    assert ended.code == 78
    assert "server.tls_key" in ended.stderr
