"""What a scrape of /metrics costs with many streams: milliseconds a scrape, beside its size.

By default 16 streams that have each been awake and sleep again, so that all their series are there and nothing else
wants the CPU; `--busy` leaves them awake, at 5 fps each. Scraped as Prometheus does: one connection, and each format
by its Accept. `cpu_ms` is the daemon's own time for one, which a busy box does not change, mostly in a thread beside
the event loop; `encode_cpu` the time of prometheus_client alone, for a registry with every series that there can be.
Prints JSON.
"""

from __future__ import annotations

import argparse
import http.client
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import common
from common import Box, log, spread
from live import Daemon, running
from prometheus_client.exposition import choose_encoder
from prometheus_client.parser import text_string_to_metric_families

from streamd.config.sections import VIEWS
from streamd.states import StreamState
from streamd.telemetry.metrics import Metrics

ACCEPTS = {"text": "text/plain; version=0.0.4", "openmetrics": "application/openmetrics-text; version=1.0.0"}
MAX_CPU_MS = 30.0
CAMERA = "lavfi:testsrc2=size=160x96:rate=5"
WAKE_LIMIT_S = 60.0


def main() -> None:
    options = _parser().parse_args()
    with tempfile.TemporaryDirectory(prefix="streamd-bench-") as temporary:
        folder = Path(temporary)
        weights = common.weights_for(options.model, folder / "home")
        with daemon(options, weights.environment, folder) as running:
            wake(running, options.streams)
            if not options.busy:
                wait_for(lambda: all(stream["state"] == "idle" for stream in _streams(running)))
            box = Box(running.pid)
            log(f"scraping {options.scrapes} times in each format")
            scrapes = {kind: scrape(running, accept, options.scrapes) for kind, accept in ACCEPTS.items()}
            cores = box.cores()
    result = {
        "benchmark": "scrape",
        "streams": options.streams,
        "busy": options.busy,
        "scrapes": scrapes,
        "encode_cpu": {kind: encode(options.streams, accept, options.scrapes) for kind, accept in ACCEPTS.items()},
        "cpu": cores,
        "targets": {f"cpu_under_{MAX_CPU_MS:g}_ms": all(each["cpu_ms"] < MAX_CPU_MS for each in scrapes.values())},
        "box": common.machine(),
    }
    json.dump(result, sys.stdout, indent=1)
    print()


# -- the daemon ---------------------------------------------------------------------------------------


@contextmanager
def daemon(options: argparse.Namespace, environment: dict[str, str], folder: Path) -> Iterator[Daemon]:
    config = folder / "streamd.toml"
    lines = ["[server]\nlisten = '127.0.0.1:0'"]
    lines += [f"[model]\nname = '{options.model}'\nfallback = ''\ndownload = false"]
    mode = "always" if options.busy else "on_demand"
    for number in range(options.streams):
        lines += [f"[streams.s{number}]\nsource = '{CAMERA}'\nmode = '{mode}'\nlinger_s = 0"]
    with running(config, lines, environment) as process:
        process.wait_ready()
        yield process


def wake(running: Daemon, streams: int) -> None:
    """A picture of each: whatever it can count, it has counted."""
    log(f"waking {streams} streams")
    for number in range(streams):
        with closing(_connect(running)) as connection:
            connection.request("GET", f"/api/v1/streams/s{number}/snapshot")
            answer = connection.getresponse()
            answer.read()
            if answer.status != 200:
                raise SystemExit(f"s{number} gives no picture: {answer.status}")


def wait_for(done: Any) -> None:
    give_up_at = time.monotonic() + WAKE_LIMIT_S
    while not done():
        if time.monotonic() > give_up_at:
            raise SystemExit(f"the streams are still awake after {WAKE_LIMIT_S:g} s")
        time.sleep(0.05)


def _streams(running: Daemon) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(running.get("/api/v1/streams"))["streams"]
    return found


def _connect(running: Daemon) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(urlsplit(running.url).netloc, timeout=30)


# -- measuring ----------------------------------------------------------------------------------------


def scrape(running: Daemon, accept: str, times: int) -> dict[str, Any]:
    """From the request to the last byte."""
    took_s, body, before_s = [], b"", common.cpu_s(running.pid)
    with closing(_connect(running)) as connection:
        for _ in range(times):
            started = time.perf_counter()
            connection.request("GET", "/metrics", headers={"Accept": accept})
            answer = connection.getresponse()
            body = answer.read()
            took_s.append(time.perf_counter() - started)
            time.sleep(0.01)
    cpu_ms = 1e3 * (common.cpu_s(running.pid) - before_s) / times
    return {**spread(took_s), "cpu_ms": round(cpu_ms, 2), "series": _series(body), "bytes": len(body)}


def encode(streams: int, accept: str, times: int) -> dict[str, Any]:
    """A registry with every view and stage of these streams, written in this process."""
    metrics = Metrics()
    for number in range(streams):
        each = metrics.of_stream(f"s{number}")
        each.state(StreamState.STARTING)
        for view in VIEWS:
            each.published(view)
            each.viewers(view, 0)
    write, _ = choose_encoder(accept)
    took_s = []
    for _ in range(times):
        started = time.thread_time()
        body = write(metrics.registry)
        took_s.append(time.thread_time() - started)
    return {**spread(took_s), "series": _series(body), "bytes": len(body)}


def _series(body: bytes) -> int:
    return sum(len(family.samples) for family in text_string_to_metric_families(body.decode()))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--streams", type=int, default=16)
    parser.add_argument("--scrapes", type=int, default=200)
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--busy", action="store_true", help="leave the streams awake")
    return parser


if __name__ == "__main__":
    main()
