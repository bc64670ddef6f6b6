"""What clients that ask for pictures cost the video: stills, Motion JPEG and uploads while one 1280x720 stream goes on.

Clients loop in another process, one kind after the other: snapshots as png and npz, Motion JPEG, pictures of 25
megapixels to POST /api/v1/depth, and all of these at once. A recorder watches the stream. Prints JSON.
"""

from __future__ import annotations

import argparse
import http.client
import json
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import common
import numpy as np
from common import Box, Helper, log, reply, requests
from live import STREAM, Daemon, Metrics, daemon

sys.path.append(str(common.ROOT))
from streamd.media.frames import ByteImage
from tests.support.bombs import photo, saved

FPS, MIN_FPS = 20, 15.0
SETTLE_S, STEP_S, PROBE_S, TIMEOUT_S = 5.0, 1.0, 0.05, 60.0
UPLOAD_SIZE = (6144, 4096)
STILL = f"/api/v1/streams/{STREAM}/snapshot?view=side-by-side&format="
PUBLISHED = "streamd_capture_to_publish_seconds_count"
KINDS = {
    "png": {"png": 8},
    "npz": {"npz": 8},
    "mjpeg": {"mjpeg": 8},
    "upload": {"upload": 4},
    "all": {"png": 8, "npz": 8, "mjpeg": 8, "upload": 4},
}
"""How many clients of each kind there are at once."""


def main() -> None:
    options = _parser().parse_args()
    if options.role:
        serve(options.url, json.loads(options.role))
        return
    with tempfile.TemporaryDirectory(prefix="streamd-bench-") as temporary:
        folder = Path(temporary)
        clip = common.make_clip(folder / "clip.mp4", fps=FPS, seconds=10)
        weights = common.weights_for(options.model, folder / "home")
        with daemon(clip, options.model, weights.environment, folder, record=True) as running:
            running.wait_ready()
            time.sleep(SETTLE_S)
            result = {"nobody": watch(running, options.seconds)}
            for kind in options.kinds:
                log(f"{kind}: {KINDS[kind]}")
                result[kind] = load(running, KINDS[kind], options.seconds)
                log(json.dumps(result[kind]))
        facts = {
            "benchmark": "clients",
            "model": options.model,
            "weights": weights.kind,
            "clip": common.describe_clip(clip),
        }
        json.dump(facts | {"box": common.machine(), "kinds": result, "targets": _targets(result)}, sys.stdout, indent=1)
    print()


def load(running: Daemon, clients: dict[str, int], seconds: float) -> dict[str, Any]:
    with Helper(json.dumps(clients), "--url", running.url) as helper:
        seen = watch(running, seconds, helper.pid)
        return seen | helper.ask()


def watch(running: Daemon, seconds: float, *clients: int) -> dict[str, Any]:
    """Pictures published in each second, and how long a request that does nothing takes."""
    worker = running.worker_pid
    assert worker is not None
    probe, box, everyone = _Probe(running.url), Box(running.pid), Box(running.pid, worker, *clients)
    readings = [running.metrics()]
    while readings[-1].at - readings[0].at < seconds:
        time.sleep(STEP_S)
        readings.append(running.metrics())
    answers_ms = probe.stop()
    steps = [_fps(a, b) for a, b in pairwise(readings)]
    return {
        "published_fps": round(_fps(readings[0], readings[-1]), 1),
        "published_fps_min": round(min(steps), 1),
        "healthz_ms": {"p50": _quantile(answers_ms, 0.5), "p95": _quantile(answers_ms, 0.95), "max": max(answers_ms)},
        "loop_lag_ms": round(1e3 * readings[-1].value("streamd_event_loop_lag_seconds")),
        "resident_mb": round(max(each.value("process_resident_memory_bytes") for each in readings) / 1e6),
        "daemon_cores": box.cores()["own_cores"],
        "other_cores": everyone.cores()["other_cores"],
    }


def _fps(first: Metrics, last: Metrics) -> float:
    return (last.value(PUBLISHED, stream=STREAM) - first.value(PUBLISHED, stream=STREAM)) / (last.at - first.at)


def _quantile(values: Sequence[float], fraction: float) -> float:
    return sorted(values)[int(fraction * (len(values) - 1))]


def _targets(result: dict[str, Any]) -> dict[str, bool]:
    """``nobody`` shows what this box can do at all."""
    loads = [seen for kind, seen in result.items() if kind != "nobody"]
    return {f"at_least_{MIN_FPS:g}_fps": all(seen["published_fps"] >= MIN_FPS for seen in loads)}


class _Probe:
    """Asks /healthz again and again."""

    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=TIMEOUT_S)
        self._answers_ms: list[float] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(PROBE_S):
            began = time.monotonic()
            self._connection.request("GET", "/healthz")
            self._connection.getresponse().read()
            self._answers_ms.append(round(1e3 * (time.monotonic() - began), 1))

    def stop(self) -> list[float]:
        self._stop.set()
        self._thread.join()
        self._connection.close()
        return self._answers_ms


# -- the clients: another process ---------------------------------------------------------------------


class Clients:
    """Threads that ask for the same again and again, each on its own connection."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.answers: Counter[str] = Counter()
        """By kind and status."""
        self.stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self, kind: str, ask: Callable[[http.client.HTTPConnection], int]) -> None:
        self._threads.append(threading.Thread(target=self._loop, args=(kind, ask)))
        self._threads[-1].start()

    def _loop(self, kind: str, ask: Callable[[http.client.HTTPConnection], int]) -> None:
        while not self.stopping.is_set():
            connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=TIMEOUT_S)
            try:
                while not self.stopping.is_set():
                    self.answers[f"{kind} {ask(connection)}"] += 1
            except (OSError, http.client.HTTPException) as error:
                self.answers[f"{kind} {type(error).__name__}"] += 1
            finally:
                connection.close()

    def stop(self) -> dict[str, Any]:
        self.stopping.set()
        for thread in self._threads:
            thread.join()
        return {"answers": dict(self.answers)}


def serve(url: str, clients: dict[str, int]) -> None:
    crowd = Clients(url)
    picture = saved(noisy(photo(*UPLOAD_SIZE)), "JPEG", quality=90) if "upload" in clients else b""
    asks = {
        "png": partial(request, "GET", f"{STILL}png", None),
        "npz": partial(request, "GET", f"{STILL}npz", None),
        "upload": partial(request, "POST", "/api/v1/depth?view=side-by-side&format=png", picture),
        "mjpeg": partial(mjpeg, crowd),
    }
    for kind, count in clients.items():
        for _ in range(count):
            crowd.start(kind, asks[kind])
    reply({})
    for _ in requests():
        reply(crowd.stop())


def noisy(picture: ByteImage) -> ByteImage:
    """As a camera's: its PNG is not much smaller than its pixels."""
    return np.asarray(picture ^ np.random.default_rng(0).integers(0, 8, picture.shape, np.uint8))


def request(method: str, path: str, body: bytes | None, connection: http.client.HTTPConnection) -> int:
    connection.request(method, path, body)
    response = connection.getresponse()
    buffer = bytearray(1 << 20)
    while response.readinto(buffer):
        pass
    if response.status == http.HTTPStatus.SERVICE_UNAVAILABLE:
        time.sleep(0.1)
    return response.status


def mjpeg(crowd: Clients, connection: http.client.HTTPConnection) -> int:
    """Counts pictures."""
    connection.request("GET", f"/api/v1/streams/{STREAM}/mjpeg?fps=20")
    response = connection.getresponse()
    while not crowd.stopping.is_set() and (line := response.readline()):
        if line.startswith(b"Content-Length: "):
            response.read(int(line.split()[1]) + 2)
            crowd.answers["mjpeg pictures"] += 1
    return response.status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="embedded")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each kind")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--role", help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    main()
