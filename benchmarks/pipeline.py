"""How fast `streamd convert` is, against the script that everybody writes and against the bare network.

Three helper processes take turns on the same clip, so that a busy moment of the box hits all of them:

  streamd   what `streamd convert` does with its own settings: decode, infer, render, encode, mux every frame
  plain     cv2.VideoCapture, torch eager on all cores, the reference transform, bicubic upsampling to full size,
            cv2.normalize, cv2.applyColorMap, and PyAV's libx264 as it comes (preset medium, crf 23)
  bare      the same network as streamd's worker compiles it, as many requests in flight, inputs ready, nothing else;
            and once more with OpenVINO's own throughput defaults, to show that these settings are no slower

Start-up (imports, weights, compiling) is not counted. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import av
import common
import cv2
import numpy as np
from common import Box, Helper, log, median, reply, requests, spread

from streamd.depth.models import find_model
from streamd.depth.preprocess import network_size, still_input
from streamd.depth.profile import core_count
from streamd.depth.protocol import WorkerJob
from streamd.depth.service import DepthService
from streamd.errors import StreamdError
from streamd.jobs import stages as each_alone
from streamd.media.frames import ByteImage, FloatImage

FASTER_THAN_PLAIN = 5.0
LESS_CPU_THAN_PLAIN = 5.8
REST_MS = 9.5
"""CPU of a frame, the network left out."""
ALONE_FRAMES = 100


def main() -> None:
    options = _parser().parse_args()
    if options.role:
        {"streamd": streamd, "plain": plain, "bare": bare}[options.role](options)
        return
    with tempfile.TemporaryDirectory(prefix="streamd-bench-") as temporary:
        home = options.home or Path(temporary, "home")
        options.clip = options.clip or common.make_clip(Path(temporary, "clip.mp4"), fps=30, seconds=options.seconds)
        json.dump(compare(options, common.weights_for(options.model, home)), sys.stdout, indent=1)
    print()


def compare(options: argparse.Namespace, weights: common.Weights) -> dict[str, Any]:
    box = common.machine()
    given = ["--clip", str(options.clip), "--model", options.model, "--plain-frames", str(options.plain_frames)]
    given += ["--weights", str(weights.file), "--precision", options.precision]
    log("starting the three")
    with (
        Helper("streamd", *given, environment=weights.environment) as ours,
        Helper("plain", *given, environment=weights.environment) as script,
        Helper("bare", *given, "--job", json.dumps(ours.facts["job"]), environment=weights.environment) as network,
    ):
        rounds = [_round(number, ours, script, network) for number in range(1, options.rounds + 1)]
        facts = {helper.role: helper.facts for helper in (ours, script, network)}
    return {
        "benchmark": "pipeline",
        "model": options.model,
        "weights": weights.kind,
        "clip": common.describe_clip(options.clip),
        "box": box,
        "fps": {name: median([one[name]["fps"] for one in rounds], 2) for name in rounds[0]},
        "ratios": _ratios(rounds),
        "stages": _stages(rounds, facts),
        "settings": facts["streamd"]["settings"] | facts["bare"],
        "rounds": [{name: {k: v for k, v in one[name].items() if k != "stages"} for name in one} for one in rounds],
    }


def _round(number: int, *helpers: Helper) -> dict[str, Any]:
    results: dict[str, Any] = {}
    for helper in helpers:
        worker = common.find_child(helper.pid, "streamd.depth.worker")
        box = Box(helper.pid, *([worker] if worker else []))
        answer = helper.ask()
        # "bare" measures twice in one go.
        for name, result in answer.items() if helper.role == "bare" else [(helper.role, answer)]:
            results[name] = result | box.cores()
            log(f"round {number}: {name:14} {result['fps']:6.1f} fps")
    return results


def _ratios(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians of the rounds' own ratios; ``rest_cpu_ms`` is what a frame costs beside the network."""

    def cpu_ms(one: dict[str, Any], name: str) -> float:
        return float(sum(one[name]["cpu_ms_per_frame"].values()))

    def figure(each: list[float], wanted: float | None = None, *, most: bool = False) -> dict[str, Any]:
        middle = median(each)
        met = {} if wanted is None else {"wanted": wanted, "met": middle <= wanted if most else middle >= wanted}
        return {"median": middle, "rounds": [round(value, 3) for value in each], **met}

    def faster(other: str, wanted: float | None = None) -> dict[str, Any]:
        return figure([one["streamd"]["fps"] / one[other]["fps"] for one in rounds], wanted)

    return {
        "streamd/plain": faster("plain", FASTER_THAN_PLAIN),
        "plain/streamd, CPU": figure(
            [cpu_ms(one, "plain") / cpu_ms(one, "streamd") for one in rounds], LESS_CPU_THAN_PLAIN
        ),
        "streamd/bare": faster("bare"),
        "streamd/bare_default": faster("bare_default"),
        "rest_cpu_ms": figure([cpu_ms(one, "streamd") - cpu_ms(one, "bare") for one in rounds], REST_MS, most=True),
    }


def _stages(rounds: list[dict[str, Any]], facts: dict[str, Any]) -> dict[str, Any]:
    """Wall time as the pipeline sees it (stages overlap, and wait for a core), CPU time of each stage alone."""
    ours: dict[str, Any] = {}
    for stage in rounds[0]["streamd"]["stages"]:
        ours[stage] = spread([value for one in rounds for value in one["streamd"]["stages"][stage]])
        ours[stage]["cpu_ms_alone"] = facts["streamd"]["alone"].get(stage)
    ours["infer"]["cpu_ms_alone"] = median([one["bare"]["cpu_ms_per_frame"]["process"] for one in rounds], 2)
    script = {
        stage: spread([value for one in rounds for value in one["plain"]["stages"][stage]])
        for stage in rounds[0]["plain"]["stages"]
    }
    return {"streamd": ours, "plain": script}


class Stages:
    """Seconds that each stage took, frame by frame."""

    def __init__(self) -> None:
        self.seconds: dict[str, list[float]] = {}

    def observe(self, stage: str, seconds: float) -> None:
        self.seconds.setdefault(stage, []).append(seconds)

    def lap(self, stage: str, since: float) -> float:
        """The time now."""
        now = time.perf_counter()
        self.observe(stage, now - since)
        return now


# -- streamd convert ----------------------------------------------------------------------------


def streamd(options: argparse.Namespace) -> None:
    """Calls the command itself, with ``rounds`` in the place of one conversion: so it is the command that builds
    the service, and its settings are what is measured."""
    import streamd.jobs.convert as target
    from streamd import cli

    run = target.Conversion.run

    def rounds(command: target.Conversion, service: DepthService, **drawn: Any) -> target.Converted:
        input, output = str(options.clip), Path(temporary, "round.mp4")
        service.wait_ready()
        pid = service.worker_pid
        assert pid is not None
        # A worker's command line has its whole job.
        job = next(WorkerJob.from_json(text) for text in common.command_line(pid) if text.startswith("{"))
        settings = {"precision": job.precision, "in_flight": target.IN_FLIGHT, **drawn}
        # Also warms up.
        costs = each_alone.measure(input, service, max_frames=ALONE_FRAMES)
        alone = {stage: round(cost.cpu_ms, 2) for stage, cost in costs.items()}
        reply({"job": json.loads(job.to_json()), "settings": settings, "alone": alone})
        done = target.Converted(0, 0.0, "")
        for _ in requests():
            stages = Stages()
            own_s, worker_s = time.process_time(), common.cpu_s(pid)
            with target.Conversion(input, output) as conversion:
                done = run(conversion, service, observe=stages.observe, quiet=True, **drawn)
            if service.worker_pid != pid:
                raise StreamdError("the worker was replaced while measuring: is the box busy?")
            cpu = {"process": time.process_time() - own_s, "worker": common.cpu_s(pid) - worker_s}
            stages.seconds.pop("wait", None)  # a file's own times are no capture times
            reply(
                {
                    "fps": round(done.fps, 2),
                    "frames": done.frames,
                    "output_kbps": common.describe_clip(output)["kbps"],
                    "cpu_ms_per_frame": {name: round(1e3 * seconds / done.frames, 2) for name, seconds in cpu.items()},
                    "stages": stages.seconds,
                }
            )
        return done

    target.Conversion.run = rounds  # type: ignore[assignment, method-assign]
    with tempfile.TemporaryDirectory() as temporary:
        arguments = ["convert", str(options.clip), f"{temporary}/depth.mp4", "--model", options.model]
        if options.precision != "auto":
            arguments += ["--precision", options.precision]
        if code := cli.main(arguments):
            sys.exit(code)


# -- the plain script -----------------------------------------------------------------------------


def plain(options: argparse.Namespace) -> None:
    import torch
    import torch.nn.functional as functional

    from streamd.depth.graph.torch import load_network

    torch.set_num_threads(core_count())
    cv2.setNumThreads(core_count())  # as OpenCV comes; streamd has it at one thread
    spec = find_model(options.model)
    network = load_network(spec, options.weights)

    def pictures() -> Iterator[ByteImage]:
        while True:
            capture = cv2.VideoCapture(str(options.clip))
            while (got := capture.read())[0]:
                yield got[1]

    def run(frames: int) -> Stages:
        stages = Stages()
        lap = stages.lap
        with av.open(f"{temporary}/plain.mp4", "w") as output:
            video = output.add_stream("libx264", rate=30, width=1280, height=720, pix_fmt="yuv420p")
            for number in range(frames):
                at = time.perf_counter()
                bgr = next(source)
                at = lap("decode", at)
                planes = torch.from_numpy(still_input(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), spec.preprocessing))
                at = lap("preprocess", at)
                with torch.no_grad():
                    depth = network(planes[None])
                    at = lap("infer", at)
                    full = functional.interpolate(depth[:, None], bgr.shape[:2], mode="bicubic", align_corners=False)
                codes = cv2.normalize(full.squeeze().numpy(), None, 0, 255, cv2.NORM_MINMAX, cv2.CV_8U)
                colours = cv2.applyColorMap(codes, cv2.COLORMAP_INFERNO)
                at = lap("render", at)
                picture = av.VideoFrame.from_ndarray(colours, format="bgr24")
                picture.pts, picture.time_base = number, Fraction(1, 30)
                output.mux(video.encode(picture))
                lap("encode", at)
            output.mux(video.encode(None))
        return stages

    with tempfile.TemporaryDirectory() as temporary:
        source = pictures()
        run(3)
        reply({})
        for _ in requests():
            frames, started, cpu = options.plain_frames, time.perf_counter(), time.process_time()
            stages = run(frames)
            cpu_ms = {"process": round(1e3 * (time.process_time() - cpu) / frames, 2)}
            fps = round(frames / (time.perf_counter() - started), 2)
            reply({"fps": fps, "frames": frames, "cpu_ms_per_frame": cpu_ms, "stages": stages.seconds})


# -- the bare network -----------------------------------------------------------------------------


def bare(options: argparse.Namespace) -> None:
    from streamd.depth.graph.openvino import load_model
    from streamd.depth.ov import openvino as ov
    from streamd.depth.runtimes.openvino import open_runtime
    from streamd.jobs.convert import IN_FLIGHT

    job = WorkerJob.from_json(options.job)
    with av.open(str(options.clip)) as clip:
        video = clip.streams.video[0]
        width, height = network_size(video.width, video.height, find_model(options.model).preprocessing)
    planes: FloatImage = np.random.default_rng(0).standard_normal((1, 3, height, width), np.float32)
    runtime = open_runtime(job)
    buffers = [(planes.copy(), np.empty((1, height, width), np.float32)) for _ in range(IN_FLIGHT)]

    def as_streamd(frames: int) -> None:
        free: SimpleQueue[int] = SimpleQueue()
        for slot in range(IN_FLIGHT):
            free.put(slot)
        for _ in range(frames):
            slot = free.get()
            runtime.submit(slot, *buffers[slot], lambda problem, slot=slot: free.put(slot), live=True)  # type: ignore[misc]
        for _ in range(IN_FLIGHT):
            free.get()

    core = ov.Core()
    model = load_model(find_model(job.model), Path(job.weights))
    model.reshape(list(planes.shape))
    hints = {"PERFORMANCE_HINT": "THROUGHPUT", "INFERENCE_PRECISION_HINT": {"bf16": "bf16"}.get(job.precision, "f32")}
    queue = ov.AsyncInferQueue(core.compile_model(model, "CPU", hints))

    def as_default(frames: int) -> None:
        for _ in range(frames):
            queue.start_async([planes])
        queue.wait_all()

    def measure(run: Callable[[int], None], frames: int) -> dict[str, Any]:
        started, cpu = time.perf_counter(), time.process_time()
        run(frames)
        cpu_ms = 1e3 * (time.process_time() - cpu) / frames
        fps = frames / (time.perf_counter() - started)
        return {"fps": round(fps, 2), "cpu_ms_per_frame": {"process": round(cpu_ms, 2)}}

    runs = {"bare": partial(measure, as_streamd), "bare_default": partial(measure, as_default)}
    for run in runs.values():
        run(20)
    reply(
        {
            "input": f"{width}x{height}",
            "openvino_streams": job.parallel,
            "openvino_threads": job.threads,
            "openvino_default": {"requests": len(queue), **hints},
        }
    )
    for _ in requests():
        reply({name: run(200) for name, run in runs.items()})
    os._exit(0)  # OpenVINO's threads may be in a callback


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", type=Path, help="a video file; default: made from the demo clip, 1280x720 at 30 fps")
    parser.add_argument("--seconds", type=float, default=10, help="length of the clip that is made (10)")
    parser.add_argument("--rounds", type=int, default=3, help="how often the three take turns (3)")
    parser.add_argument("--plain-frames", type=int, default=60, help="frames per round of the plain script (60)")
    parser.add_argument("--model", choices=("midas_small", "embedded"), default="midas_small")
    parser.add_argument("--precision", choices=("auto", "fp32", "bf16"), default="auto", help="of streamd and bare")
    parser.add_argument("--home", type=Path, help="keep imported weights and compiled networks here for the next time")
    parser.add_argument("--role", help=argparse.SUPPRESS)
    parser.add_argument("--weights", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--job", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    main()
