"""What `streamd run` does under a live 720p source and a WHEP viewer: skipped frames, latency, memory, encodes.

The daemon runs in a child process on a free port, each viewer in another one that only counts what arrives.
`--startup` measures the time from process start to the first published frame instead, with an empty and with a
warm cache. Prints JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import common
from common import Box, Helper, log, median, reply
from prometheus_client.parser import text_string_to_metric_families

STREAM = "bench"
SETTLE_S, SAMPLE_S, MEMORY_FROM_S = 5.0, 5.0, 60.0
START_LIMIT_S = 120.0
STAGES = ("decode", "wait", "preprocess", "infer", "render", "encode")
MAX_SKIPPED, MAX_LATENCY_INFERS, MAX_MEMORY_MB, MAX_DRIFT = 0, 3.0, 600.0, 0.02
MAX_START_S = {"cold": 20.0, "warm": 4.0}


def main() -> None:
    options = _parser().parse_args()
    if options.role:
        asyncio.run(watch(options.url))
        return
    with tempfile.TemporaryDirectory(prefix="streamd-bench-") as temporary:
        folder = Path(temporary)
        made = {"fps": options.source_fps, "seconds": options.clip_seconds}
        clip = options.clip or common.make_clip(folder / "clip.mp4", **made)
        weights = common.weights_for(options.model, folder / "home")
        log(f"measuring {'start-up' if options.startup else f'for {options.seconds:g} s'}")
        measure = startup if options.startup else live
        result = measure(options, clip, weights, folder)
        facts = {"benchmark": "startup" if options.startup else "live", "model": options.model, "weights": weights.kind}
        facts |= {"clip": common.describe_clip(clip), "box": common.machine()}
        json.dump(facts | result, sys.stdout, indent=1)
    print()


# -- the daemon -----------------------------------------------------------------------------------


class Daemon:
    """`streamd run` on a free port, and what it reports of itself."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        assert process.stdout is not None
        line = process.stdout.readline()
        if "http://" not in line:
            raise SystemExit(f"streamd run ended with {process.wait()}")
        self.url = "http://" + line.split("http://")[1].strip().rstrip("/")

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def worker_pid(self) -> int | None:
        return common.find_child(self.pid, "streamd.depth.worker")

    def get(self, path: str) -> str:
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            return str(answer.read().decode())

    def ask(self, method: str, stream: str, settings: Mapping[str, Any] | None = None) -> None:
        """Changes a stream."""
        body = None if settings is None else json.dumps(settings).encode()
        headers = {"Content-Type": "application/json"}
        address = f"{self.url}/api/v1/streams/{stream}"
        request = urllib.request.Request(address, body, headers, method=method)
        with urllib.request.urlopen(request, timeout=20):
            pass

    def metrics(self) -> Metrics:
        return Metrics(time.monotonic(), self.get("/metrics"))

    def stream(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.get(f"/api/v1/streams/{STREAM}"))
        return answer

    def wait_ready(self) -> None:
        give_up_at = time.monotonic() + START_LIMIT_S
        while True:
            try:
                self.get("/readyz")
                return
            except urllib.error.HTTPError as error:
                if time.monotonic() > give_up_at:
                    raise SystemExit(f"not ready: {error.read().decode()}") from None
                time.sleep(0.1)


@contextmanager
def daemon(
    clip: Path, model: str, environment: dict[str, str], folder: Path, *, record: bool = False
) -> Iterator[Daemon]:
    config = folder / "streamd.toml"
    lines = [f"[server]\nlisten = '127.0.0.1:0'\n[model]\nname = '{model}'\nfallback = ''\ndownload = false"]
    lines += [f"[streams.{STREAM}]\nsource = '{clip}'\nloop = true"]
    if record:  # somebody has to watch for anything to be published
        lines += [f"[recording]\ndirectory = '{folder / 'recordings'}'"]
    with running(config, lines, environment) as process:
        yield process


@contextmanager
def running(config: Path, lines: Sequence[str], environment: Mapping[str, str]) -> Iterator[Daemon]:
    """`streamd run` with this configuration, which is written to ``config``."""
    config.write_text("\n".join(lines))
    command = [sys.executable, "-m", "streamd", "run", "--config", str(config)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        yield Daemon(process)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            raise SystemExit("streamd run did not stop") from None


class Metrics:
    """One reading of /metrics."""

    def __init__(self, at: float, text: str) -> None:
        self.at = at
        self._samples = {
            (sample.name, tuple(sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float:
        return self._samples.get((name, tuple(sorted(labels.items()))), 0.0)

    def by(self, name: str, label: str) -> dict[str, float]:
        return {dict(labels)[label]: value for (found, labels), value in self._samples.items() if found == name}

    def buckets(self, name: str) -> dict[float, float]:
        return {float(bound): count for bound, count in self.by(f"{name}_bucket", "le").items()}


def quantile_ms(fraction: float, before: dict[float, float], after: dict[float, float]) -> float | None:
    """Between two readings of a histogram, as Prometheus reckons it."""
    counts = [(bound, count - before.get(bound, 0.0)) for bound, count in sorted(after.items())]
    wanted = fraction * counts[-1][1]
    lower, below = 0.0, 0.0
    for bound, count in counts:
        if count >= wanted and count > 0:
            upper = lower if math.isinf(bound) else bound
            return round(1e3 * (lower + (upper - lower) * (wanted - below) / max(count - below, 1e-9)), 1)
        lower, below = bound, count
    return None


# -- the steady state -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Sample:
    """What is looked at every few seconds."""

    at_s: float
    daemon_mb: float
    worker_mb: float
    p95_ms: float
    """Of the newest 300 frames."""


def live(options: argparse.Namespace, clip: Path, weights: common.Weights, folder: Path) -> dict[str, Any]:
    with ExitStack() as stack:
        running = stack.enter_context(daemon(clip, options.model, weights.environment, folder))
        running.wait_ready()
        url = f"{running.url}/whep/{STREAM}?view={options.view}"
        viewers = [stack.enter_context(Helper("viewer", "--url", url)) for _ in range(options.viewers)]
        time.sleep(SETTLE_S)
        worker = running.worker_pid
        assert worker is not None
        for viewer in viewers:
            viewer.ask()
        boxes = {"daemon": Box(running.pid), "worker": Box(worker)}
        first = running.metrics()
        samples = _sample(running, first, options.seconds)
        last = running.metrics()
        cores = {name: box.cores()["own_cores"] for name, box in boxes.items()}
        cores["everything"] = round(sum(boxes["daemon"].cores().values()), 2)
        seen = [viewer.ask() for viewer in viewers]
        stream = running.stream()
    result = _steady(first, last, stream, options.view)
    result["cpu_cores"] = cores
    result["viewers"] = [
        {"first_picture_ms": viewer.facts["first_picture_ms"]} | counted
        for viewer, counted in zip(viewers, seen, strict=True)
    ]
    result["memory"] = _memory(samples)
    return result | {"targets": _targets(result)}


def _sample(running: Daemon, first: Metrics, seconds: float) -> list[Sample]:
    samples = []
    while (at_s := time.monotonic() - first.at) < seconds:
        now = running.metrics()
        daemon_mb = round(now.value("process_resident_memory_bytes") / 1e6, 2)
        worker_mb = round(now.value("streamd_worker_resident_memory_bytes") / 1e6, 2)
        p95_ms = round(running.stream()["latency_ms"]["p95"] or 0.0, 1)
        samples.append(Sample(round(now.at - first.at, 1), daemon_mb, worker_mb, p95_ms))
        log(f"{at_s:5.0f} s  daemon {daemon_mb:.0f} MB  worker {worker_mb:.0f} MB  p95 {p95_ms:.1f} ms")
        time.sleep(max(0.0, min(SAMPLE_S, seconds - (time.monotonic() - first.at))))
    return samples


def _steady(first: Metrics, last: Metrics, stream: dict[str, Any], view: str) -> dict[str, Any]:
    def gained(name: str, **labels: str) -> float:
        return last.value(name, stream=STREAM, **labels) - first.value(name, stream=STREAM, **labels)

    name = "streamd_capture_to_publish_seconds"
    frames, seconds = gained(f"{name}_count"), last.at - first.at
    before, after = first.buckets(name), last.buckets(name)
    skipped = {
        reason: round(count - first.by("streamd_frames_skipped_total", "reason").get(reason, 0.0))
        for reason, count in last.by("streamd_frames_skipped_total", "reason").items()
    }
    stages = {}
    for stage in STAGES:
        count = gained("streamd_stage_seconds_count", stage=stage)
        stages[stage] = round(1e3 * gained("streamd_stage_seconds_sum", stage=stage) / count, 2) if count else None
    return {
        "seconds": round(seconds, 1),
        "precision": stream["model"]["precision"],
        "fps_captured": round(gained("streamd_frames_captured_total") / seconds, 2),
        "fps_published": round(frames / seconds, 2),
        "skipped": skipped,
        "encodes_per_frame": round(gained("streamd_frames_published_total", view=view) / max(frames, 1), 4),
        "latency_ms": {
            "mean": round(1e3 * gained(f"{name}_sum") / max(frames, 1), 2),
            "p50": quantile_ms(0.5, before, after),
            "p95": quantile_ms(0.95, before, after),
            "api_last_300_frames": stream["latency_ms"],
        },
        "stage_mean_ms": stages,
        "worker_restarts": round(sum(last.by("streamd_worker_restarts_total", "reason").values())),
    }


def _memory(samples: list[Sample]) -> dict[str, Any]:
    """Resident megabytes; drift is against the first sample after a minute, or the first at all in a short run."""
    settled = [sample for sample in samples if sample.at_s >= MEMORY_FROM_S] or samples

    def story(name: str) -> dict[str, float]:
        values = [float(getattr(sample, f"{name}_mb")) for sample in settled]
        drift = max(abs(value / values[0] - 1) for value in values)
        start = float(getattr(samples[0], f"{name}_mb"))
        return {"start_mb": start, "settled_mb": values[0], "end_mb": values[-1], "max_drift": round(drift, 4)}

    return {
        "daemon": story("daemon"),
        "worker": story("worker"),
        "together_max_mb": round(max(sample.daemon_mb + sample.worker_mb for sample in samples), 1),
        "settled_at_s": settled[0].at_s,
        "samples": [vars(sample) for sample in samples],
    }


def _targets(result: dict[str, Any]) -> dict[str, Any]:
    """Which of the targets apply is for the reader: skipping is right when the source is faster than the network."""
    infers = (result["latency_ms"]["p95"] or math.inf) / (result["stage_mean_ms"]["infer"] or math.nan)
    memory = result["memory"]
    drift = max(memory["daemon"]["max_drift"], memory["worker"]["max_drift"])
    return {
        "no_skipped_frame": sum(result["skipped"].values()) <= MAX_SKIPPED,
        "p95_within_3_inferences": {"value": round(infers, 2), "met": infers <= MAX_LATENCY_INFERS},
        "together_within_600_mb": memory["together_max_mb"] <= MAX_MEMORY_MB,
        "memory_flat_within_2_percent": drift <= MAX_DRIFT if memory["settled_at_s"] >= MEMORY_FROM_S else None,
        "one_encode_per_frame": abs(result["encodes_per_frame"] - 1) < 0.01,
    }


# -- a viewer -----------------------------------------------------------------------------------------


async def watch(url: str) -> None:
    """A plain aiortc client over WHEP that throws the pictures away undecoded and counts them."""
    import aiohttp
    from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription, rtcrtpreceiver
    from aiortc.codecs.base import Decoder

    loop, joined, ended = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
    arrivals: list[float] = []

    class Counter(Decoder):
        def decode(self, encoded_frame: object) -> list[Any]:
            arrivals.append(time.monotonic())
            loop.call_soon_threadsafe(joined.set)
            return []

    vars(rtcrtpreceiver)["get_decoder"] = lambda codec: Counter()
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    peer.addTransceiver("video", direction="recvonly")
    await peer.setLocalDescription(await peer.createOffer())
    async with aiohttp.ClientSession() as http:
        started = time.monotonic()
        async with http.post(
            url, data=peer.localDescription.sdp, headers={"Content-Type": "application/sdp"}, raise_for_status=True
        ) as answer:
            session = answer.headers["Location"]
            await peer.setRemoteDescription(RTCSessionDescription(await answer.text(), "answer"))
        await joined.wait()
        reply({"first_picture_ms": round(1e3 * (arrivals[0] - started), 1)})

        def answer_parent() -> None:
            for _ in common.requests():
                times = arrivals.copy()
                del arrivals[: len(times) - 1]  # the last one begins the next count
                gaps = [after - before for before, after in pairwise(times)]
                reply({"pictures": len(gaps), "longest_gap_ms": round(1e3 * max(gaps, default=0.0), 1)})
            loop.call_soon_threadsafe(ended.set)

        threading.Thread(target=answer_parent).start()
        await ended.wait()
        await http.delete(urljoin(url, session))
    await peer.close()


# -- start-up -----------------------------------------------------------------------------------------


def startup(options: argparse.Namespace, clip: Path, weights: common.Weights, folder: Path) -> dict[str, Any]:
    """Cold: nothing compiled, nothing converted (though Python's files may be in the page cache)."""
    home = folder / "home"
    environment = {**weights.environment, "STREAMD_HOME": str(home)}
    if weights.kind == "installed" and options.model != "embedded":
        command = [sys.executable, "-m", "streamd", "models", "import", options.model, str(weights.file)]
        subprocess.run(command, env=environment, check=True, stdout=sys.stderr)
    times: dict[str, list[float]] = {"cold": [], "warm": []}
    for _ in range(options.starts):
        shutil.rmtree(home / "cache", ignore_errors=True)
        for kind in ("cold", "warm"):
            times[kind].append(_start(options, clip, environment, folder))
            log(f"{kind}: {times[kind][-1]:.2f} s")
    return {
        "seconds": {kind: {"median": median(each, 2), "each": each} for kind, each in times.items()},
        "targets": {kind: statistics.median(each) <= MAX_START_S[kind] for kind, each in times.items()},
    }


def _start(options: argparse.Namespace, clip: Path, environment: dict[str, str], folder: Path) -> float:
    started = time.monotonic()
    with daemon(clip, options.model, environment, folder, record=True) as running:
        while running.metrics().value("streamd_frames_published_total", stream=STREAM, view="depth") < 1:
            if time.monotonic() - started > START_LIMIT_S:
                raise SystemExit(f"nothing published within {START_LIMIT_S:.0f} s")
            time.sleep(0.05)
        return round(time.monotonic() - started, 2)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60, help="how long to measure (60); 600 for memory")
    parser.add_argument("--viewers", type=int, default=1, help="WHEP viewers (1)")
    parser.add_argument("--view", default="depth", help="what they watch (depth)")
    parser.add_argument("--model", choices=("embedded", "midas_small"), default="embedded")
    parser.add_argument("--source-fps", type=int, default=30, help="of the clip that is played in a loop (30)")
    parser.add_argument("--clip", type=Path, help="a video file; default: made from the demo clip, 1280x720")
    parser.add_argument("--clip-seconds", type=float, default=10, help="length of the clip that is made (10)")
    parser.add_argument("--startup", action="store_true", help="measure start-up instead")
    parser.add_argument("--starts", type=int, default=3, help="how often to start with each cache (3)")
    parser.add_argument("--role", help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    main()
