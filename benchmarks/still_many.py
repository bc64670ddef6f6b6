"""Many cameras, most of them still: do those that move get the network, and what does it all cost?

20 cameras of 720p10 H.264: 17 still ones with noise, 3 that move, and a viewer each on two of either kind. Each camera
is a looped file that is played by its clock, or with `--udp` MPEG-TS that FFmpeg copies from that file to a port, as
live as a camera: nothing but the decoding costs anything here. Prints JSON, and a table on stderr.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import common
from common import Box, log
from live import Daemon, Metrics, running
from still import SCENES, make_clip
from streams import wait_for

sys.path.append(str(common.ROOT))
from tests.support.crowd import Crowd
from tests.support.ports import free_ports

FPS, BITS, NOISE = 10, 1_500_000, "static, noise 4"
SETTLE_S = 8.0
APART_S = 0.037
"""Cameras do not send at the same moments."""
VIEWERS_OF_A_KIND = 2
MIN_FPS = 9.9
STAGES = ("decode", "wait", "preprocess", "infer", "render", "encode")


def main() -> None:
    options = _parser().parse_args()
    with tempfile.TemporaryDirectory(prefix="streamd-bench-") as temporary:
        folder = Path(temporary)
        weights = common.weights_for(options.model, folder / "home")
        clips = {kind: clip(options, folder, kind) for kind in ("still", "moving")}
        names = [*(f"moving{n}" for n in range(options.moving)), *(f"still{n}" for n in range(options.still))]
        with cameras(names, clips, udp=options.udp) as sources, daemon(options, sources, weights, folder) as streamd:
            facts = {"benchmark": "still_many", "model": options.model, "weights": weights.kind}
            facts |= {"sources": "udp" if options.udp else "files", "box": common.machine()}
            json.dump(facts | measured(options, streamd, names), sys.stdout, indent=1)
    print()


# -- cameras ------------------------------------------------------------------------------------------


def clip(options: argparse.Namespace, folder: Path, kind: str) -> Path:
    path = (options.clips or folder) / f"{kind}.ts"
    if not path.exists():
        log(f"making {options.clip_seconds:g} s of 720p{FPS}, {kind}")
        make_clip(path, SCENES[NOISE if kind == "still" else "moving"], options.clip_seconds, rate=FPS, bits=BITS)
    return path


@contextmanager
def cameras(names: Sequence[str], clips: Mapping[str, Path], *, udp: bool) -> Iterator[dict[str, str]]:
    """The source of each."""
    files = {name: str(clips[name.rstrip("0123456789")]) for name in names}
    if not udp:
        yield files
        return
    sources = {name: f"udp://127.0.0.1:{port}" for name, port in zip(names, free_ports(len(names)), strict=True)}
    with ExitStack() as stack:
        for name in names:
            command = ["ffmpeg", "-v", "fatal", "-re", "-stream_loop", "-1", "-i", files[name], "-c", "copy"]
            command += ["-f", "mpegts", f"{sources[name]}?pkt_size=1316"]
            camera = subprocess.Popen(command, stdin=subprocess.DEVNULL)
            stack.callback(camera.wait)
            stack.callback(camera.kill)
            time.sleep(APART_S)
        yield sources


@contextmanager
def daemon(
    options: argparse.Namespace, sources: Mapping[str, str], weights: common.Weights, folder: Path
) -> Iterator[Daemon]:
    lines = ["[server]\nlisten = '127.0.0.1:0'"]
    lines += [f"[model]\nname = '{options.model}'\nfallback = ''\ndownload = false"]
    for name, source in sources.items():
        lines += [f"[streams.{name}]\nsource = '{source}'\ninference = '{options.inference}'"]
        lines += ["loop = true"] * (not options.udp)
    with running(folder / "streamd.toml", lines, weights.environment) as streamd:
        streamd.wait_ready()
        yield streamd


# -- what they get --------------------------------------------------------------------------------------


def measured(options: argparse.Namespace, streamd: Daemon, names: Sequence[str]) -> dict[str, Any]:
    watched: list[str] = []
    for kind in ("moving", "still"):
        watched += [name for name in names if name.startswith(kind)][:VIEWERS_OF_A_KIND]
    with ExitStack() as stack:
        crowds = {name: stack.enter_context(Crowd(f"{streamd.url}/whep/{name}", raw=True)) for name in watched}
        joins = {name: crowd.join(1)[0] for name, crowd in crowds.items()}
        wait_for(lambda: streamd.worker_pid is not None and _inferred(streamd.metrics(), names))
        log("settling")
        time.sleep(SETTLE_S)
        worker = streamd.worker_pid
        assert worker is not None
        pids = {"daemon": streamd.pid, "worker": worker}
        for crowd in crowds.values():
            crowd.counts()
        boxes, before = {kind: Box(pid) for kind, pid in pids.items()}, streamd.metrics()
        threads = _thread_cpu_s(streamd.pid)
        everything = Box(*pids.values(), *(crowd.pid for crowd in crowds.values()))
        time.sleep(options.seconds)
        after, seen = streamd.metrics(), {name: crowd.counts()[0] for name, crowd in crowds.items()}
        cores = {kind: box.cores()["own_cores"] for kind, box in boxes.items()}
        used = {kind: cpu_s - threads.get(kind, 0.0) for kind, cpu_s in _thread_cpu_s(streamd.pid).items()}
        cores["others"] = everything.cores()["other_cores"]
        status = {each["name"]: each for each in json.loads(streamd.get("/api/v1/streams"))["streams"]}
        memory = {kind: _memory(pid) for kind, pid in pids.items()}
    each = {name: _stream(name, before, after, status[name]) for name in names}
    for name, counts in seen.items():
        each[name] |= {"viewer_fps": round(counts["pictures"] / counts["s"], 2), "join_s": round(joins[name], 2)}
        each[name] |= {"viewer_longest_gap_s": round(counts["longest_gap_s"], 2)}
    _table(each)
    cores["daemon_threads"] = {kind: round(cpu_s / (after.at - before.at), 3) for kind, cpu_s in used.items()}
    log(json.dumps({"cores": cores, "memory": memory}))
    moving = [each[name] for name in names if name.startswith("moving")]
    return {
        "seconds": round(after.at - before.at, 1),
        "cores": cores,
        "memory": memory,
        "streams": each,
        "targets": {
            "moving_at_10_fps": all(stream["fps"] >= MIN_FPS for stream in moving),
            "moving_skip_none": not any(sum(stream["skipped"].values()) for stream in moving),
        },
    }


def _inferred(metrics: Metrics, names: Sequence[str]) -> bool:
    return all(metrics.value("streamd_inferences_total", stream=name) for name in names)


def _stream(name: str, before: Metrics, after: Metrics, status: Mapping[str, Any]) -> dict[str, Any]:
    seconds = after.at - before.at

    def gained(metric: str, **labels: str) -> float:
        return after.value(metric, stream=name, **labels) - before.value(metric, stream=name, **labels)

    captured, inferred = gained("streamd_frames_captured_total"), gained("streamd_inferences_total")
    unchanged = gained("streamd_frames_unchanged_total")
    reasons = ("superseded", "overflow", "max_fps", "error", "corrupt", "late", "disk")
    skipped = {reason: round(gained("streamd_frames_skipped_total", reason=reason)) for reason in reasons}
    stages = {}
    for stage in STAGES:
        count = gained("streamd_stage_seconds_count", stage=stage)
        stages[stage] = round(1e3 * gained("streamd_stage_seconds_sum", stage=stage) / count, 1) if count else None
    return {
        "captured_fps": round(captured / seconds, 2),
        "fps": round((inferred + unchanged) / seconds, 2),
        "skipped": {reason: count for reason, count in skipped.items() if count},
        "inferred_share": round(inferred / max(captured, 1), 4),
        "latency_ms": status["latency_ms"],
        "stage_mean_ms": stages,
    }


def _memory(pid: int) -> dict[str, float]:
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return {
        "resident_mb": round(int(status["VmRSS"].split()[0]) / 1024, 1),
        "anonymous_mb": round(int(status["RssAnon"].split()[0]) / 1024, 1),
        "threads": len(os.listdir(f"/proc/{pid}/task")),
    }


def _thread_cpu_s(pid: int) -> dict[str, float]:
    """Of a process so far, by what its threads are called up to a dash. FFmpeg's have their parents' names."""
    used: dict[str, float] = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            name, fields = (task / "comm").read_text().strip(), (task / "stat").read_text().rsplit(")", 1)[1].split()
        except OSError:  # it has ended
            continue
        kind = name.split("-")[0]
        used[kind] = used.get(kind, 0.0) + (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return dict(sorted(used.items(), key=lambda item: -item[1]))


def _table(each: Mapping[str, Mapping[str, Any]]) -> None:
    log(f"{'stream':10}{'in':>7}{'fps':>7}{'inferred':>10}{'p50 ms':>8}{'p95 ms':>8}{'viewer':>8}  skipped")
    for name, stream in each.items():
        p50, p95 = (stream["latency_ms"][which] or 0 for which in ("p50", "p95"))
        line = f"{name:10}{stream['captured_fps']:7.2f}{stream['fps']:7.2f}{stream['inferred_share']:10.2%}"
        log(f"{line}{p50:8.1f}{p95:8.1f}{stream.get('viewer_fps', ''):>8}  {stream['skipped'] or ''}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=("midas_small", "embedded"), default="midas_small")
    parser.add_argument("--still", type=int, default=17, help="cameras whose scene stands still (17)")
    parser.add_argument("--moving", type=int, default=3, help="and those whose scene moves (3)")
    parser.add_argument("--inference", choices=("changes", "every"), default="changes")
    parser.add_argument("--udp", action="store_true", help="live sources: MPEG-TS from FFmpeg, by UDP")
    parser.add_argument("--seconds", type=float, default=20, help="how long to measure (20)")
    parser.add_argument("--clip-seconds", type=float, default=30, help="length of the clips, which loop (30)")
    parser.add_argument("--clips", type=Path, help="a folder in which the clips are kept, or found")
    return parser


if __name__ == "__main__":
    main()
