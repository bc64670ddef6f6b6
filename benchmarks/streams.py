"""Many cameras on one network: is it as busy as with one, does each get its share, and what do those cost that sleep?

By default N streams of 640x360 at 30 fps are compared, in turns, with one stream that offers as many frames a second
by itself, and with one whose every frame is processed as fast as it goes. The cameras are looped files, so that no
encoder eats the CPU; decoding stays. `--idle` measures the CPU of a daemon whose streams all sleep, `--on-demand`
the time from asking to the first picture. Prints JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

import av
import common
from common import Box, log, median
from live import Daemon, Metrics, running

WIDTH, HEIGHT, FPS = 640, 360, 30
SETTLE_S, SAMPLE_EVERY_S, WAIT_S = 4.0, 1.0, 60.0
PROCESSED = "streamd_capture_to_publish_seconds"
MIN_RATIO, MIN_JAIN, MAX_P95_OVER_MEAN, MAX_IDLE_SHARE, MAX_FIRST_S = 0.95, 0.98, 1.5, 0.02, 2.0

Streams = Mapping[str, Mapping[str, Any]]


def main() -> None:
    options = _parser().parse_args()
    options.streams = options.streams or (4 if options.idle else 8)
    with tempfile.TemporaryDirectory(prefix="streamd-bench-") as temporary:
        folder = Path(temporary)
        weights = common.weights_for(options.model, folder / "home")
        bench = Bench(options, weights, folder)
        kind = "idle" if options.idle else "on-demand" if options.on_demand else "streams"
        result = {"idle": bench.idle, "on-demand": bench.on_demand, "streams": bench.streams}[kind]()
        facts = {"benchmark": kind, "model": options.model, "weights": weights.kind, "box": common.machine()}
        json.dump(facts | result, sys.stdout, indent=1)
    print()


class Bench:
    def __init__(self, options: argparse.Namespace, weights: common.Weights, folder: Path) -> None:
        self._options, self._weights, self._folder = options, weights, folder

    # -- many against one -----------------------------------------------------------------------

    def streams(self) -> dict[str, Any]:
        count = self._options.streams
        clip = make_clip(self._folder / "clip.mp4", "movie", self._options.clip_seconds)
        fast = faster(clip, count, self._folder / "fast.mp4")
        kinds: dict[str, Streams] = {
            "many": {f"s{number}": {"source": str(clip), "loop": True} for number in range(count)},
            "one_live": {"s0": {"source": str(fast), "loop": True}},
            "one_every": {"s0": {"source": str(clip), "loop": True, "realtime": False}},
        }
        rounds: dict[str, list[dict[str, Any]]] = {kind: [] for kind in kinds}
        for number in range(self._options.rounds):
            for kind, streams in kinds.items():
                rounds[kind].append(self._processed(streams))
                log(f"round {number + 1}: {kind}: {rounds[kind][-1]['fps']:.1f} fps")
        ratios = {
            kind: [many["fps"] / one["fps"] for many, one in zip(rounds["many"], rounds[kind], strict=True)]
            for kind in ("one_live", "one_every")
        }
        result = {
            "streams": count,
            "clip": common.describe_clip(clip),
            "fps": {kind: median([each["fps"] for each in found], 2) for kind, found in rounds.items()},
            "ratio": {f"to_{kind}": median(found) for kind, found in ratios.items()},
            "jain": median([each["jain"] for each in rounds["many"]], 5),
            "p95_over_mean": median([each["worst_p95_over_mean"] for each in rounds["many"]], 2),
            "rounds": rounds,
        }
        return result | {
            "targets": {
                "total_at_least_95_percent": min(result["ratio"].values()) >= MIN_RATIO,
                "jain_at_least_0.98": result["jain"] >= MIN_JAIN,
                "p95_within_1.5_means": result["p95_over_mean"] <= MAX_P95_OVER_MEAN,
            }
        }

    def _processed(self, streams: Streams) -> dict[str, Any]:
        """What one daemon does with these, while nobody watches: decoding, network, range."""
        with self._daemon(streams) as running:
            wait_for(lambda: min(running.metrics().by(f"{PROCESSED}_count", "stream").values()) > 0)
            time.sleep(SETTLE_S)
            box, first, samples = Box(running.pid, *_worker(running)), running.metrics(), []
            while time.monotonic() - first.at < self._options.seconds:
                time.sleep(SAMPLE_EVERY_S)
                samples.append({stream["name"]: stream for stream in _streams(running)})
            last, cores = running.metrics(), box.cores()
        return _summary(streams, first, last, samples) | {"cpu": cores}

    # -- those that sleep -----------------------------------------------------------------------

    def idle(self) -> dict[str, Any]:
        clip = make_clip(self._folder / "clip.mp4", "movie", 2)
        count = self._options.streams
        sleeping = {f"s{number}": _on_demand(clip) for number in range(count)}
        with self._daemon(sleeping) as running:
            self._all_asleep(running)
            log(f"{count} streams sleep; measuring for {self._options.seconds:g} s")
            before_s, began = common.cpu_s(running.pid), time.monotonic()
            time.sleep(self._options.seconds)
            busy = (common.cpu_s(running.pid) - before_s) / (time.monotonic() - began)
            memory_mb = round(running.metrics().value("process_resident_memory_bytes") / 1e6, 1)
            worker = _worker(running)
        return {
            "streams": count,
            "share_of_a_core": round(busy, 5),
            "daemon_mb": memory_mb,
            "worker_runs": bool(worker),
            "targets": {"under_2_percent": busy < MAX_IDLE_SHARE},
        }

    def on_demand(self) -> dict[str, Any]:
        """Cold: no worker runs. Warm: the network has answered a moment ago."""
        clip = make_clip(self._folder / "bars.mp4", "bars", 2)
        ask = {"snapshot": _snapshot_s, "whep": lambda running: asyncio.run(_whep_s(running))}
        times: dict[str, dict[str, list[float]]] = {kind: {"cold": [], "warm": []} for kind in ask}
        with self._daemon({"s0": _on_demand(clip)}) as running:
            _snapshot_s(running)  # compiles, once
            for _ in range(self._options.times):
                for kind, take in ask.items():
                    self._all_asleep(running)
                    times[kind]["cold"].append(round(take(running), 3))
                    wait_for(lambda: _streams(running)[0]["state"] == "idle")
                    times[kind]["warm"].append(round(take(running), 3))
                    log(f"{kind}: {times[kind]['cold'][-1]:.2f} s cold, {times[kind]['warm'][-1]:.2f} s warm")
        worst_s = max(max(each) for found in times.values() for each in found.values())
        return {
            "seconds": {
                kind: {how: {"median": median(each), "each": each} for how, each in found.items()}
                for kind, found in times.items()
            },
            "targets": {"first_picture_within_2_s": worst_s <= MAX_FIRST_S},
        }

    def _all_asleep(self, running: Daemon) -> None:
        wait_for(lambda: not _worker(running) and all(stream["state"] == "idle" for stream in _streams(running)))

    @contextmanager
    def _daemon(self, streams: Streams) -> Iterator[Daemon]:
        config = self._folder / "streamd.toml"
        lines = ["[server]\nlisten = '127.0.0.1:0'"]
        lines += [f"[model]\nname = '{self._options.model}'\nfallback = ''\ndownload = false"]
        for name, keys in streams.items():
            lines += [f"[streams.{name}]", *(f"{key} = {json.dumps(value)}" for key, value in keys.items())]
        with running(config, lines, self._weights.environment) as process:
            process.wait_ready()
            yield process


def _on_demand(clip: Path) -> dict[str, Any]:
    return {"source": str(clip), "loop": True, "mode": "on_demand", "linger_s": 0}


def _worker(running: Daemon) -> list[int]:
    pid = running.worker_pid
    return [pid] if pid else []


def _streams(running: Daemon) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(running.get("/api/v1/streams"))["streams"]
    return found


def wait_for(done: Any) -> None:
    give_up_at = time.monotonic() + WAIT_S
    while not done():
        if time.monotonic() > give_up_at:
            raise SystemExit(f"something that should have come true did not within {WAIT_S:g} s")
        time.sleep(0.05)


# -- numbers ------------------------------------------------------------------------------------------


def _summary(streams: Streams, first: Metrics, last: Metrics, samples: list[dict[str, Any]]) -> dict[str, Any]:
    """Means and counts between two readings; percentiles are the API's exact ones, the median of several samples."""
    seconds = last.at - first.at
    each = {}
    for name in streams:
        frames = last.value(f"{PROCESSED}_count", stream=name) - first.value(f"{PROCESSED}_count", stream=name)
        total_s = last.value(f"{PROCESSED}_sum", stream=name) - first.value(f"{PROCESSED}_sum", stream=name)
        p50, p95 = (
            statistics.median(sample[name]["latency_ms"][percentile] or 0.0 for sample in samples)
            for percentile in ("p50", "p95")
        )
        mean_ms = 1e3 * total_s / max(frames, 1)
        each[name] = {
            "fps": round(frames / seconds, 2),
            "mean_ms": round(mean_ms, 1),
            "p50_ms": round(p50, 1),
            "p95_ms": round(p95, 1),
            "p95_over_mean": round(p95 / mean_ms, 2) if mean_ms else None,
        }
    rates = [stream["fps"] for stream in each.values()]
    return {
        "fps": round(sum(rates), 2),
        "jain": round(sum(rates) ** 2 / (len(rates) * sum(rate**2 for rate in rates)), 5),
        "worst_p95_over_mean": max(stream["p95_over_mean"] or 0.0 for stream in each.values()),
        "each": each,
    }


# -- asking -------------------------------------------------------------------------------------------


def _snapshot_s(running: Daemon) -> float:
    """Until the whole picture is there."""
    began = time.monotonic()
    with urllib.request.urlopen(f"{running.url}/api/v1/streams/s0/snapshot?view=source", timeout=30) as answer:
        answer.read()
    return time.monotonic() - began


async def _whep_s(running: Daemon) -> float:
    """From the POST to the first decoded picture of the camera: the CONNECTING picture does not count."""
    import aiohttp
    from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    receiver = peer.addTransceiver("video", direction="recvonly").receiver
    await peer.setLocalDescription(await peer.createOffer())
    url, headers = f"{running.url}/whep/s0?view=source", {"Content-Type": "application/sdp"}
    async with aiohttp.ClientSession() as http:
        began = time.monotonic()
        async with http.post(url, data=peer.localDescription.sdp, headers=headers, raise_for_status=True) as answer:
            session = urljoin(url, answer.headers["Location"])
            await peer.setRemoteDescription(RTCSessionDescription(await answer.text(), "answer"))
        while not _shows_bars(await asyncio.wait_for(receiver.track.recv(), WAIT_S)):
            pass
        took_s = time.monotonic() - began
        await http.delete(session)
    await peer.close()
    return took_s


def _shows_bars(picture: Any) -> bool:
    """The second bar is yellow."""
    red, green, blue = picture.reformat(70, 30, format="rgb24").to_ndarray()[10, 15]
    return bool(min(red, green) > 140 and blue < 90)


# -- material -----------------------------------------------------------------------------------------


def make_clip(path: Path, what: str, seconds: float) -> Path:
    """The demo clip as a 640x360 camera at 30 fps might send it, or colour bars."""
    log(f"making {seconds:g} s of {WIDTH}x{HEIGHT} at {FPS} fps")
    with av.open(str(path), "w") as output:
        video = output.add_stream("libx264", rate=FPS, options={"preset": "veryfast", "crf": "23"})
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        video.codec_context.gop_size = FPS
        for number, picture in zip(range(round(FPS * seconds)), _pictures(what), strict=False):
            small = picture.reformat(WIDTH, HEIGHT, format="yuv420p")
            small.pts, small.time_base, small.pict_type = number, Fraction(1, FPS), 0
            output.mux(video.encode(small))
        output.mux(video.encode(None))
    return path


def _pictures(what: str) -> Iterator[av.VideoFrame]:
    while True:
        if what == "bars":
            source = av.open(f"smptebars=size={WIDTH}x{HEIGHT}:rate={FPS}", format="lavfi")
        else:
            source = av.open(str(common.DEMO))
        with source:
            yield from source.decode(video=0)


def faster(clip: Path, times: int, path: Path) -> Path:
    """The same pictures, so many times as fast."""
    with av.open(str(clip)) as source, av.open(str(path), "w") as output:
        video = output.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is None:  # the end
                continue
            packet.pts, packet.dts = (packet.pts or 0) // times, packet.dts // times
            packet.stream = video
            output.mux(packet)
    return path


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--streams", type=int, help="how many (8; with --idle 4)")
    parser.add_argument("--model", choices=("embedded", "midas_small"), default="embedded")
    parser.add_argument("--seconds", type=float, default=20, help="how long each measurement takes (20)")
    parser.add_argument("--rounds", type=int, default=3, help="how often many and one take turns (3)")
    parser.add_argument("--clip-seconds", type=float, default=10, help="length of the clip that is made (10)")
    parser.add_argument("--idle", action="store_true", help="measure what sleeping streams cost instead")
    parser.add_argument("--on-demand", action="store_true", help="measure the time to the first picture instead")
    parser.add_argument("--times", type=int, default=5, help="how often --on-demand asks (5)")
    return parser


if __name__ == "__main__":
    main()
