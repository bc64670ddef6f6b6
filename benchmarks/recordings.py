"""How long 100,000 recordings of 8 streams take to be indexed, listed and laid out on a line of time, and what clients
that list them again and again do to a live stream: its pictures a second, beside theirs.

A 720p20 stream is recorded, so the folder that is listed changes meanwhile; eight clients ask for the newest page, and
on from it, as fast as they are answered. Compared in one run with the same stream before they come. Prints JSON.
"""

from __future__ import annotations

import argparse
import http.client
import json
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import common
from common import Box, Helper, log, reply, spread
from live import STREAM, Daemon, running

from streamd.sinks.recording.names import name_segment

MIN_PICTURES_FPS = 15.0
SETTLE_S = 3.0


def main() -> None:
    options = _parser().parse_args()
    if options.role:
        clients(options)
        return
    with tempfile.TemporaryDirectory(prefix="streamd-bench-") as temporary:
        folder = Path(temporary)
        weights = common.weights_for(options.model, folder / "home")
        make_recordings(folder / "recordings", options.recordings)
        clip = common.make_clip(folder / "clip.mp4", fps=20, seconds=20)
        lines = ["[server]\nlisten = '127.0.0.1:0'", f"[recording]\ndirectory = '{folder / 'recordings'}'"]
        lines += [f"segment_seconds = {options.segment_seconds:g}"]
        lines += [f"[model]\nname = '{options.model}'\nfallback = ''\ndownload = false"]
        lines += [f"[streams.{STREAM}]\nsource = '{clip}'\nloop = true"]
        with running(folder / "streamd.toml", lines, weights.environment) as daemon:
            daemon.wait_ready()
            indexed_s = wait_until_indexed(daemon)
            time.sleep(SETTLE_S)
            with loop_lag(daemon) as idle_lag:
                time.sleep(SETTLE_S)
            with loop_lag(daemon) as lag:
                alone = measure_alone(daemon)
            log(f"{options.clients} clients list {options.recordings} recordings for {options.seconds:g} s")
            quiet = measure(daemon, options.seconds)
            arguments = (daemon.url, "--clients", str(options.clients), "--seconds", str(options.seconds))
            with Helper("clients", "--url", *arguments) as helper:
                listing = measure(daemon, options.seconds, helper)
    result = {
        "benchmark": "recordings",
        "recordings": options.recordings,
        "indexed_s": indexed_s,
        "one_client": alone,
        "loop_lag": {"idle": idle_lag, "one_client": lag},
        "quiet": quiet,
        "listing": listing,
        "targets": {f"{MIN_PICTURES_FPS:g}_pictures_a_second": listing["pictures_fps"] >= MIN_PICTURES_FPS},
        "box": common.machine(),
    }
    json.dump(result, sys.stdout, indent=1)
    print()


def make_recordings(folder: Path, count: int) -> None:
    """A minute each, back from an hour ago, of eight streams; what is in them does not matter to who lists them."""
    started = datetime.now(UTC) - timedelta(hours=1)
    streams = [STREAM, *(f"camera-{number}" for number in range(2, 9))]
    for stream in streams:
        (folder / stream).mkdir(parents=True)
    for number in range(count):
        moment = started - timedelta(minutes=number // len(streams))
        name = name_segment(streams[number % len(streams)], "depth", moment)
        (folder / name.path).touch()


def wait_until_indexed(daemon: Daemon) -> float:
    """Seconds from now: a little of it was before."""
    began = time.monotonic()
    while not json.loads(daemon.get("/api/v1/recordings/timeline"))["complete"]:
        time.sleep(0.1)
    return round(time.monotonic() - began, 1)


def measure_alone(daemon: Daemon, count: int = 60) -> dict[str, Any]:
    """Every answer of one client that asks for one after the other."""
    day = datetime.now(UTC) - timedelta(days=3)
    span = f"from={day:%Y-%m-%dT00:00:00Z}&to={day:%Y-%m-%dT23:59:59Z}"
    asked = {
        "list": "/api/v1/recordings?limit=100",
        "list_of_a_day": f"/api/v1/recordings?limit=1000&stream={STREAM}&{span}",
        "timeline_of_a_day": f"/api/v1/recordings/timeline?{span}",
        "timeline_of_all": "/api/v1/recordings/timeline?from=2020-01-01T00:00:00Z&to=2100-01-01T00:00:00Z",
    }
    took_s: dict[str, list[float]] = {name: [] for name in asked}
    with closing(http.client.HTTPConnection(urlsplit(daemon.url).netloc, timeout=30)) as connection:
        for _ in range(count):
            for name, path in asked.items():
                began = time.perf_counter()
                connection.request("GET", path)
                connection.getresponse().read()
                took_s[name].append(time.perf_counter() - began)
                time.sleep(0.02)
    return {name: spread(each) for name, each in took_s.items()}


@contextmanager
def loop_lag(daemon: Daemon) -> Iterator[dict[str, Any]]:
    """How late the loop answers meanwhile what costs nothing: the worst, ms. Filled at the end."""
    worst_s, done, found = [0.0], threading.Event(), dict[str, Any]()

    def ask() -> None:
        with closing(http.client.HTTPConnection(urlsplit(daemon.url).netloc, timeout=30)) as connection:
            while not done.wait(0.005):
                began = time.perf_counter()
                connection.request("GET", "/healthz")
                connection.getresponse().read()
                worst_s[0] = max(worst_s[0], time.perf_counter() - began)

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield found
    finally:
        done.set()
        thread.join()
        found["worst_ms"] = round(1e3 * worst_s[0], 1)


def measure(daemon: Daemon, seconds: float, helper: Helper | None = None) -> dict[str, Any]:
    before, box = daemon.metrics(), Box(daemon.pid)
    answers = helper.ask() if helper else time.sleep(seconds)
    after = daemon.metrics()
    pictures = after.value("streamd_frames_published_total", stream=STREAM, view="depth") - before.value(
        "streamd_frames_published_total", stream=STREAM, view="depth"
    )
    return {
        "pictures_fps": round(pictures / (after.at - before.at), 2),
        "loop_lag_ms": round(1e3 * after.value("streamd_event_loop_lag_seconds"), 1),
        "latency_ms": daemon.stream()["latency_ms"],
        "cpu": box.cores(),
        **({"lists": answers} if answers else {}),
    }


# -- in a process of its own --------------------------------------------------------------------------


def clients(options: argparse.Namespace) -> None:
    reply({"ready": True})
    for _ in common.requests():
        took_s: list[float] = []
        until = time.monotonic() + options.seconds
        threads = [threading.Thread(target=browse, args=(options.url, until, took_s)) for _ in range(options.clients)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        reply({"a_second": round(len(took_s) / options.seconds, 1), **spread(took_s)})


def browse(url: str, until: float, took_s: list[float]) -> None:
    """Page after page, and from the newest again after ten."""
    with closing(http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)) as connection:
        number, following = 0, None
        while time.monotonic() < until:
            started = time.perf_counter()
            connection.request("GET", "/api/v1/recordings" + (f"?before={following}" if following else ""))
            answer = connection.getresponse()
            body = answer.read()
            if answer.status != 200:
                raise SystemExit(f"no list: {answer.status} {body.decode()}")
            took_s.append(time.perf_counter() - started)
            number += 1
            following = json.loads(body)["next"] if number % 10 else None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recordings", type=int, default=100_000)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--segment-seconds", type=float, default=60.0, help="a new file this often")
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--role", choices=["clients"], help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    main()
