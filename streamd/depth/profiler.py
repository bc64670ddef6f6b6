"""The child that tries networks: ``python -m streamd.depth.profiler measure|check``, started by profile.py.

The last line on stderr is the reason of a failure; the lines before it show where the time went.
"""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from streamd.concurrency.threads import lower_priority
from streamd.depth import child, profile
from streamd.depth.agreement import MAX_ERROR, error_share
from streamd.depth.demo_clip import clip_inputs
from streamd.depth.files import sha256_of, write_json
from streamd.depth.graph.openvino import load_model
from streamd.depth.models import ModelSpec, Preprocessing, find_model
from streamd.depth.models.manifest import network_files
from streamd.depth.ov import has_bf16, openvino
from streamd.depth.preprocess import network_size
from streamd.depth.profile import Measured, Profile
from streamd.errors import WeightsRejected
from streamd.media.frames import FloatImage

Infer = Callable[[FloatImage], FloatImage]
"""(1, 3, h, w) to (1, h, w)."""
_FRAMES = 8
_ROUNDS = 3
ENOUGH_S = 60.0
"""A large network is measured on fewer frames."""
_HINTS = {"fp32": "f32", "bf16": "bf16"}
_STARTED = time.monotonic()


def main(arguments: list[str]) -> int:
    """``measure MODEL WEIGHTS SHA256 PROFILE`` or ``check MODEL WEIGHTS``; returns the exit code."""
    lower_priority(10)  # live streams go first
    with child.reported() as ended:
        match arguments:
            case ["measure", model, weights, sha256, path]:
                spec = find_model(model)
                if sha256_of(*network_files(Path(weights))) != sha256:
                    raise WeightsRejected(weights, f"the file has changed: its sha256 is no longer {sha256[:16]}...")
                write_json(Path(path), measure(spec, Path(weights), sha256, Path(path).parents[1]).to_json())
            case ["check", model, weights]:
                check(find_model(model), Path(weights))
            case _:
                print(main.__doc__, file=sys.stderr)
                return 2
    return ended.code


def check(spec: ModelSpec, weights: Path) -> None:
    """Raises WeightsRejected unless the network loads and gives finite depth."""
    network = _compile(load_model(spec, weights), "fp32")
    if not np.isfinite(network(_noise(*network_size(1, 1, spec.preprocessing)))[0]).all():
        raise WeightsRejected(str(weights), "the network gives NaN or infinite depth")


def calibration_inputs(how: Preprocessing) -> FloatImage:
    """(8, 3, h, w) float32: frames spread over the demo clip, as the network would see them live."""
    return clip_inputs(how, _FRAMES)[:, 0]


def measure(spec: ModelSpec, weights: Path, sha256: str, cache: Path) -> Profile:
    """What this CPU makes of it. Raises WeightsRejected."""
    model = load_model(spec, weights)
    _note("built the network")
    inputs = calibration_inputs(spec.preprocessing)
    _note("read the demo clip")
    model.reshape([1, *inputs.shape[1:]])
    networks: dict[str, Infer] = {name: _answers(_compile(model, name)) for name in _precisions()}
    networks |= dict(_others(spec, weights, sha256, cache))
    _note("compiled")
    times: dict[str, list[float]] = {name: [] for name in networks}
    errors: dict[str, list[float]] = {name: [] for name in networks}
    began = time.monotonic()
    for attempt in range(1 + _ROUNDS):  # the first to warm up; in turns, so that a busy moment hits all alike
        for planes in inputs:
            if all(times.values()) and time.monotonic() - began > ENOUGH_S:
                break
            outputs = {}
            for name, network in networks.items():
                started = time.perf_counter()
                outputs[name] = network(planes[None])[0]
                if attempt:
                    times[name].append(1e3 * (time.perf_counter() - started))
            if attempt == 0:
                for name, depth in outputs.items():
                    errors[name].append(error_share(depth, outputs["fp32"]))
    _note("measured")
    measured = {name: Measured(round(min(times[name]), 3), max(errors[name])) for name in networks}
    agree = {name: result for name, result in measured.items() if result.error <= MAX_ERROR}
    proven = {name: result.ms for name, result in agree.items() if name in _HINTS}
    if not proven:
        raise WeightsRejected(str(weights), "the network gives NaN or infinite depth")
    return Profile(
        cpu=profile.cpu()[0],
        cores=profile.core_count(),
        openvino=profile.openvino_version(),
        width=inputs.shape[3],
        height=inputs.shape[2],
        precisions={name: result for name, result in measured.items() if name in _HINTS},
        chosen=min(proven, key=proven.__getitem__),
        others={name: result for name, result in agree.items() if name not in _HINTS},
    )


def _precisions() -> list[str]:
    return ["fp32", "bf16"] if has_bf16() else ["fp32"]


def _compile(model: openvino.Model, precision: str) -> openvino.CompiledModel:
    hints = {"INFERENCE_PRECISION_HINT": _HINTS[precision], "PERFORMANCE_HINT": "LATENCY"}
    return openvino.Core().compile_model(model, "CPU", hints)


def _answers(compiled: openvino.CompiledModel) -> Infer:
    return lambda planes: np.asarray(compiled(planes)[0])


def _others(spec: ModelSpec, weights: Path, sha256: str, cache: Path) -> Iterator[tuple[str, Infer]]:
    """Runtimes that extras brought; one that does not run here is left out."""
    for runtime in profile.other_runtimes(spec):
        try:
            from streamd.depth.runtimes.onnxruntime import open_network

            threads = profile.core_count()
            yield runtime, open_network(spec, weights, sha256, cache, provider="CPU", threads=threads)
        except Exception:
            traceback.print_exc()


def _noise(width: int, height: int) -> FloatImage:
    """(1, 3, height, width) float32, of the spread of a normalised picture."""
    return np.random.default_rng(0).standard_normal((1, 3, height, width), np.float32)


def _note(done: str) -> None:
    print(f"{time.monotonic() - _STARTED:6.2f} s {done}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
