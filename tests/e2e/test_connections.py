"""Two thousand clients that connect and say nothing: they take their share, and nobody else's work."""

from __future__ import annotations

import http.client
import os
import resource
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest

from tests.e2e.conftest import StartDaemon
from tests.e2e.processes import Metrics
from tests.support.waiting import scaled, until

IDLE = 2000
PLACES = 512
BACK_S = 5.0


@pytest.fixture(autouse=True)
def many_descriptors() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, hard), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def metrics(client: http.client.HTTPConnection) -> Metrics:
    client.request("GET", "/metrics")
    return Metrics(client.getresponse().read().decode())


def inferred(client: http.client.HTTPConnection) -> float:
    return metrics(client).value("streamd_stage_seconds_count", stage="infer")


def refused(clients: list[socket.socket]) -> int:
    return sum(not is_open(client) for client in clients)


def is_open(client: socket.socket) -> bool:
    try:
        return bool(client.recv(1000))
    except BlockingIOError:
        return True
    except ConnectionError:
        return False


def test_a_worker_that_dies_meanwhile_is_back_soon(daemon: StartDaemon) -> None:
    running = daemon("lavfi:testsrc2=size=320x180:rate=10").until_ready()
    host, _, port = urlsplit(running.url).netloc.partition(":")
    with ExitStack() as stack:
        there = http.client.HTTPConnection(host, int(port), timeout=10)
        stack.callback(there.close)
        metrics(there)
        clients = []
        for _ in range(IDLE):
            client = stack.enter_context(socket.create_connection((host, int(port)), timeout=10))
            client.setblocking(False)
            clients.append(client)
        until("all past the bound are refused", lambda: refused(clients) >= IDLE - PLACES + 1)
        assert refused(clients) < IDLE - PLACES + 50, "and nobody else"
        before, old = inferred(there), running.worker()
        os.kill(old, signal.SIGKILL)
        killed = time.monotonic()
        until("frames are inferred again", lambda: inferred(there) > before + 5, within_s=20)
        took_s = time.monotonic() - killed
        assert running.worker() != old
        assert took_s < scaled(BACK_S)
        assert metrics(there).value("streamd_event_loop_lag_seconds") < 1
    assert "Traceback" not in running.log
