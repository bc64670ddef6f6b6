"""What the change gate saves: scenes of 720p30 H.264, `inference = "changes"` and `"every"` in turns under one viewer.
With `--trials` what it sees of small objects, with `--steady` what blending over time is worth: both without a daemon.

One daemon plays each scene; its setting is changed while it runs, so that both see the same moment of the box. CPU is
that of daemon and worker. The error is measured apart, frame by frame: depth that the gate would reuse against the
network's own of that frame, after scale and shift, as a share of the 2-98 % spread. Prints JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import common
import cv2
import numpy as np
from common import Box, Helper, log, median
from live import STREAM, Daemon, Metrics, daemon, watch
from steadiness import steadiness

from streamd.config.sections import ModelConfig
from streamd.depth.gate import ChangeGate
from streamd.depth.preprocess import VideoPreprocessor
from streamd.depth.service import DepthService
from streamd.depth.store import ModelStore, default_directories
from streamd.media.frames import ByteImage, FloatImage

sys.path.append(str(common.ROOT))
from tests.support import objects

RATE, SIZE = 30, (1280, 720)
SETTLE_S, READ_EVERY_S = 2.0, 2.0
BITS = 2_500_000
REFRESH_S = 2.0


def main() -> None:
    options = _parser().parse_args()
    if options.role:
        asyncio.run(watch(options.url))
        return
    if options.trials:
        print(json.dumps({"benchmark": "objects", "box": common.machine(), "scenes": trials(options.trials)}, indent=1))
        return
    with tempfile.TemporaryDirectory(prefix="streamd-bench-") as temporary:
        folder = Path(temporary)
        weights = common.weights_for(options.model, folder / "home")
        results: dict[str, Any] = {}
        for name in options.scenes:
            log(f"scene {name}")
            clip = make_clip(folder / f"{name}.mp4", SCENES[name], options.clip_seconds)
            if options.steady:
                results[name] = steadiness(clip, options.model, weights.environment)
                continue
            (folder / name).mkdir()
            with daemon(clip, options.model, weights.environment, folder / name) as running:
                results[name] = in_turns(running, options.rounds, options.seconds)
            results[name]["error"] = errors(clip, options.model, weights)
        facts = {"benchmark": "still", "model": options.model, "weights": weights.kind, "box": common.machine()}
        json.dump(facts | {"scenes": results}, sys.stdout, indent=1)
    print()


# -- scenes ---------------------------------------------------------------------------------------


def _picture() -> ByteImage:
    """One picture of the demo clip, large."""
    with av.open(str(common.DEMO)) as clip:
        picture = next(itertools.islice(clip.decode(video=0), 30, None)).to_ndarray(format="rgb24")
    return np.asarray(cv2.resize(picture, SIZE, interpolation=cv2.INTER_CUBIC))


def _noisy(picture: FloatImage, sigma: float, random: np.random.Generator) -> ByteImage:
    """Shot noise: more of it where it is bright."""
    noise = random.standard_normal(picture.shape, np.float32) * sigma
    return np.clip(picture + noise * np.sqrt(np.maximum(picture, 16) / 128), 0, 255).astype(np.uint8)


def _static(sigma: float) -> Callable[[int], Iterator[ByteImage]]:
    def pictures(count: int) -> Iterator[ByteImage]:
        picture, random = _picture().astype(np.float32), np.random.default_rng(1)
        for _ in range(count):
            yield _noisy(picture, sigma, random)

    return pictures


def _half_time(count: int) -> Iterator[ByteImage]:
    """A large object crosses, half of the time."""
    picture, random = _picture().astype(np.float32), np.random.default_rng(1)
    thing = cv2.resize(_picture()[200:500, 300:700], (320, 420)).astype(np.float32)
    for number in range(count):
        shown, half = picture.copy(), count // 2
        if number < half:
            at = round(number / half * (SIZE[0] - 320))
            shown[250:670, at : at + 320] = thing
        yield _noisy(shown, 2, random)


def _drift(count: int) -> Iterator[ByteImage]:
    """The light falls by 30 %, and rises again."""
    picture, random = _picture().astype(np.float32), np.random.default_rng(1)
    for number in range(count):
        yield _noisy(picture * (0.85 + 0.15 * np.cos(2 * np.pi * number / count)), 2, random)


def _moving(count: int) -> Iterator[ByteImage]:
    made = 0
    while True:
        with av.open(str(common.DEMO)) as clip:
            for frame in clip.decode(video=0):
                if made == count:
                    return
                made += 1
                yield frame.reformat(*SIZE, format="rgb24").to_ndarray()


SCENES: dict[str, Callable[[int], Iterator[ByteImage]]] = {
    "static, noise 2": _static(2),
    "static, noise 4": _static(4),
    "static, noise 6": _static(6),
    "object half the time": _half_time,
    "light drifts": _drift,
    "moving": _moving,
}


def make_clip(
    path: Path, scene: Callable[[int], Iterator[ByteImage]], seconds: float, *, rate: int = RATE, bits: int = BITS
) -> Path:
    """As a camera sends it: of constant rate, a keyframe each 2 s, no B-frames."""
    with av.open(str(path), "w") as output:
        options = {"preset": "veryfast", "g": str(2 * rate), "bf": "0"}
        video = output.add_stream("libx264", rate=rate, options=options)
        video.width, video.height, video.pix_fmt, video.bit_rate = *SIZE, "yuv420p", bits
        for number, pixels in enumerate(scene(round(seconds * rate))):
            picture = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            picture.pts, picture.time_base = number, Fraction(1, rate)
            output.mux(video.encode(picture))
        output.mux(video.encode(None))
    return path


# -- the daemon, in turns ---------------------------------------------------------------------------


def in_turns(running: Daemon, rounds: int, seconds: float) -> dict[str, Any]:
    running.wait_ready()
    with Helper("viewer", "--url", f"{running.url}/whep/{STREAM}?view=depth"):
        turns = [{mode: _turn(running, mode, seconds) for mode in ("every", "changes")} for _ in range(rounds)]
    figures = {
        mode: {name: median([turn[mode][name] for turn in turns], 4) for name in turns[0][mode]}
        for mode in ("every", "changes")
    }
    ratios = {
        name: median([turn["changes"][name] / turn["every"][name] for turn in turns])
        for name in ("cpu_ms_per_frame", "flicker", "inferences_per_frame")
        if all(turn["every"][name] for turn in turns)
    }
    return figures | {"ratio": ratios}


def _turn(running: Daemon, mode: str, seconds: float) -> dict[str, float]:
    running.ask("PATCH", STREAM, {"inference": mode, "refresh_s": REFRESH_S})
    time.sleep(SETTLE_S)
    worker = running.worker_pid
    assert worker is not None
    before, cpu = running.metrics(), [common.cpu_s(pid) for pid in (running.pid, worker)]
    box, flicker = Box(running.pid, worker), []
    while time.monotonic() - before.at < seconds:
        time.sleep(max(0.0, min(READ_EVERY_S, before.at + seconds - time.monotonic())))  # a reading costs CPU too
        flicker.append(running.metrics().value("streamd_depth_flicker_ratio", stream=STREAM))
    after = running.metrics()

    def gained(name: str, **labels: str) -> float:
        return after.value(name, stream=STREAM, **labels) - before.value(name, stream=STREAM, **labels)

    def skipped(reading: Metrics) -> float:
        return sum(reading.by("streamd_frames_skipped_total", "reason").values())

    frames = gained("streamd_frames_captured_total")
    used = sum(common.cpu_s(pid) for pid in (running.pid, worker)) - sum(cpu)
    return {
        "cpu_ms_per_frame": 1e3 * used / frames,
        "inferences_per_frame": gained("streamd_inferences_total") / frames,
        "pictures_per_frame": gained("streamd_frames_published_total", view="depth") / frames,
        "skipped_per_frame": (skipped(after) - skipped(before)) / frames,
        "flicker": statistics.fmean(flicker),
        "other_cores": box.cores()["other_cores"],
    }


# -- what is seen ------------------------------------------------------------------------------------


def trials(count: int) -> dict[str, Any]:
    """That many objects, spread over the scenes."""
    results: dict[str, Any] = {}
    for number, scene in enumerate(objects.SCENES):
        log(f"scene {scene.name}")
        share = (count + number) // len(objects.SCENES)
        results[scene.name] = vars(objects.try_scene(scene, share)) if share else {}
    found = [result for result in results.values() if result]
    totals = {key: sum(each[key] for each in found) for key in ("came", "gone", "trials")}
    return results | {"all": totals | {"seen_at_once": totals["came"] / totals["trials"]}}


# -- the error of reuse -------------------------------------------------------------------------------


def errors(clip: Path, model: str, weights: common.Weights) -> dict[str, float]:
    """Mean and worst of the frames that the gate leaves out, the mean of all, and what the gate itself costs."""
    service = DepthService(ModelConfig(name=model), ModelStore(*default_directories(weights.environment)))
    service.start()
    info, gate, preprocess = service.wait_ready(), ChangeGate(REFRESH_S), VideoPreprocessor()
    reused: FloatImage | None = None
    found, gate_s = [], 0.0
    try:
        with av.open(str(clip)) as source:
            for number, picture in enumerate(source.decode(video=0)):
                planes, _ = preprocess(picture, info.spec.preprocessing)
                depth = service.submit(info, planes, picture=SIZE).result()
                began = time.thread_time()
                change = gate.test(picture, number / RATE)
                gate_s += time.thread_time() - began
                if change.reuses_depth and reused is not None:
                    found.append(error_share(reused, depth))
                else:
                    reused = depth
                    gate.inferred(picture, number / RATE)
            frames = number + 1
    finally:
        service.close()
    return {
        "reused_per_frame": len(found) / frames,
        "mean": statistics.fmean(found or [0.0]),
        "worst": max(found, default=0.0),
        "mean_of_all": sum(found) / frames,
        "gate_cpu_ms": 1e3 * gate_s / frames,
    }


def error_share(depth: FloatImage, reference: FloatImage) -> float:
    """RMSE after the best scale and shift, as a share of the reference's 2-98 % spread."""
    x, y = depth.ravel().astype(np.float64), reference.ravel().astype(np.float64)
    scale = ((x - x.mean()) * (y - y.mean())).mean() / max(x.var(), 1e-12)
    low, high = np.percentile(y, (2, 98))
    return float(np.sqrt(np.mean((scale * (x - x.mean()) - (y - y.mean())) ** 2)) / (high - low))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=("midas_small", "embedded"), default="midas_small")
    parser.add_argument("--scenes", nargs="+", choices=SCENES, default=list(SCENES), metavar="SCENE")
    parser.add_argument("--seconds", type=float, default=5, help="of each turn (5)")
    parser.add_argument("--rounds", type=int, default=2, help="how often the two take turns (2)")
    parser.add_argument("--clip-seconds", type=float, default=5, help="length of the scenes, which loop (5)")
    parser.add_argument("--trials", type=int, default=0, help="of small objects that come and go, instead")
    parser.add_argument("--steady", action="store_true", help="measure smoothing = 0.5 against 0 instead")
    parser.add_argument("--role", help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    main()
