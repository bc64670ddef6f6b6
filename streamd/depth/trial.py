"""The child that times a network: ``python -m streamd.depth.trial network|work|peak``, started by jobs/bench.py.

It runs what the worker would run, as the worker would. The answer is one line of JSON on stdout; the last line on
stderr is the reason of a failure.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from streamd.depth.protocol import WorkerJob
from streamd.depth.runtimes.runtime import Runtime
from streamd.depth.worker import open_runtime
from streamd.errors import StreamdError, WeightsRejected
from streamd.media.frames import FloatImage
from streamd.telemetry.metrics import resident_bytes

WARM_UP = 2
MIN_ROUNDS = 5
_PEAK_S = 0.7


def main(arguments: list[str]) -> int:
    """``network JOB INPUTS OUTPUTS SECONDS``, ``work MODEL WEIGHTS INPUTS`` or ``peak``; returns the exit code.

    INPUTS is an npz of (n, 3, h, w) arrays; OUTPUTS one of what becomes of them, under the same names.
    """
    try:
        match arguments:
            case ["network", job, inputs, outputs, seconds]:
                answer = network(WorkerJob.from_json(job), Path(inputs), Path(outputs), float(seconds))
            case ["work", model, weights, inputs]:
                answer = work(model, Path(weights), Path(inputs))
            case ["peak"]:
                answer = peak()
            case _:
                print(main.__doc__, file=sys.stderr)
                return 2
    except Exception as error:  # the process ends here, and its last line must be a readable one
        reason = error.reason if isinstance(error, WeightsRejected) else str(error).strip() or repr(error)
        print(reason if isinstance(error, StreamdError) else reason.splitlines()[-1], file=sys.stderr)
        return 1
    print(json.dumps(answer), flush=True)
    return 0


def network(job: WorkerJob, inputs: Path, outputs: Path, seconds: float) -> dict[str, Any]:
    """``seconds`` for each of the inputs."""
    runtime = open_runtime(job)
    made, rows = {}, {}
    with np.load(inputs) as given:
        for name, planes in given.items():
            made[name], rows[name] = _time(runtime, planes, seconds)
    answer = {"precision": runtime.precision, "mb": round(resident_bytes(os.getpid()) / 1e6), "inputs": rows}
    np.savez(outputs, **made)  # type: ignore[arg-type]
    return answer


def _time(runtime: Runtime, inputs: FloatImage, seconds: float) -> tuple[FloatImage, dict[str, float]]:
    """What it makes of (n, 3, h, w); and how long one takes, one after the other."""
    _, _, height, width = inputs.shape
    planes, depth = np.empty((1, 3, height, width), np.float32), np.empty((1, height, width), np.float32)

    def infer(number: int) -> None:
        planes[0] = inputs[number % len(inputs)]
        answered: list[str | None] = []
        done = threading.Event()

        def finish(problem: str | None) -> None:
            answered.append(problem)
            done.set()

        runtime.submit(0, planes, depth, finish, live=True)
        done.wait()
        if answered[0]:
            raise RuntimeError(answered[0])

    made = []
    for number in range(len(inputs)):
        infer(number)
        made.append(depth[0].copy())
    wall_s: list[float] = []
    began, cpu_s = time.perf_counter(), time.process_time()
    while len(wall_s) < MIN_ROUNDS or time.perf_counter() - began < seconds:
        started = time.perf_counter()
        infer(len(wall_s))
        wall_s.append(time.perf_counter() - started)
    elapsed_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu_s
    return np.stack(made), {
        "ms": round(1e3 * statistics.median(wall_s), 2),
        "cpu_ms": round(1e3 * cpu_s / len(wall_s), 2),
        "fps": round(len(wall_s) / elapsed_s, 2),
    }


def work(model: str, weights: Path, inputs: Path) -> dict[str, Any]:
    """GFLOP of one inference of each of the inputs."""
    from streamd.depth.graph.openvino import load_model
    from streamd.depth.graph.work import gflop
    from streamd.depth.models import find_model

    network = load_model(find_model(model), weights)
    with np.load(inputs) as given:
        return {name: round(gflop(network, *planes.shape[2:]), 3) for name, planes in given.items()}


def peak() -> dict[str, Any]:
    """GFLOP/s of one core, by precision: the best of many, for a busy box only ever takes away."""
    from streamd.depth.graph.work import peak_gflop, peak_model
    from streamd.depth.ov import has_bf16
    from streamd.depth.ov import openvino as ov

    core = ov.Core()
    hints = {"fp32": "f32"} | ({"bf16": "bf16"} if has_bf16() else {})
    found = {}
    for precision, hint in hints.items():
        settings = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": 1}
        request = core.compile_model(peak_model(), "CPU", settings).create_infer_request()
        found[precision] = round(peak_gflop() / _best(request.infer, _PEAK_S), 1)
    return found


def _best(work: Callable[[], object], seconds: float) -> float:
    """CPU seconds."""
    for _ in range(WARM_UP):
        work()
    spent_s: list[float] = []
    began = time.perf_counter()
    while len(spent_s) < MIN_ROUNDS or time.perf_counter() - began < seconds:
        started = time.process_time()
        work()
        spent_s.append(time.process_time() - started)
    return min(spent_s)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
