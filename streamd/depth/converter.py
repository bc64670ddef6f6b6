"""The child that holds torch: ``python -m streamd.depth.converter prepare|check``, started by artefact.py.

The last line on stderr is the reason of a failure; the lines before it show where the time went.
"""

from __future__ import annotations

import math
import shutil
import statistics
import sys
import tempfile
import time
import traceback
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import av
import numpy as np

from streamd.concurrency.threads import lower_priority
from streamd.depth import artefact
from streamd.depth.artefact import Measured, Profile
from streamd.depth.files import sha256_of, sync, write_json
from streamd.depth.models import ModelSpec, Preprocessing, find_model
from streamd.depth.ov import openvino
from streamd.depth.preprocess import VideoPreprocessor, network_size
from streamd.errors import DepthError, WeightsRejected
from streamd.media.frames import FloatImage

if TYPE_CHECKING:
    from streamd.depth.models.export import TorchNetwork

MAX_ERROR = 0.01
"""A precision that differs more from torch is not used."""
MAX_DIFFERENCE = 1e-4
"""How far OpenVINO's float32 may be from torch's, as a share of the greatest value."""
_FRAMES = 8
_ROUNDS = 3
_HINTS = {"fp32": "f32", "bf16": "bf16"}
_STARTED = time.monotonic()
_PICTURES = ((1280, 720), (640, 480), (720, 1280), (512, 512))


def main(arguments: list[str]) -> int:
    """``prepare MODEL WEIGHTS SHA256 DIRECTORY`` or ``check MODEL WEIGHTS``; returns the exit code."""
    lower_priority(10)  # live streams go first
    try:
        match arguments:
            case ["prepare", model, weights, sha256, directory]:
                prepare(find_model(model), Path(weights), sha256, Path(directory))
            case ["check", model, weights]:
                check(find_model(model), Path(weights))
            case _:
                print(main.__doc__, file=sys.stderr)
                return 2
    except WeightsRejected as error:
        print(error.reason, file=sys.stderr)
        return artefact.REFUSED
    except Exception as error:  # the process ends here, and its last line must be a readable one
        traceback.print_exc()
        print(f"{type(error).__name__}: {error}".splitlines()[0], file=sys.stderr)
        return 1
    return 0


def check(spec: ModelSpec, weights: Path) -> None:
    """Raises WeightsRejected unless the network loads and gives finite depth."""
    from streamd.depth.models.export import TorchNetwork

    network = TorchNetwork(spec, weights)
    network(_noise(1, *network_size(1, 1, spec.preprocessing)))


def prepare(spec: ModelSpec, weights: Path, sha256: str, directory: Path) -> None:
    """Makes what is missing of the artefact: all of it, or only the profile of this CPU, without torch."""
    if not artefact.is_whole(directory):
        convert(spec, weights, sha256, directory)
    if not (path := artefact.profile_path(directory)).exists():
        write_json(path, measure(directory).to_json())
        _note("measured the precisions")


def convert(spec: ModelSpec, weights: Path, sha256: str, directory: Path) -> None:
    """Weights to IR and calibration data: complete in ``directory``, or nothing there.

    Raises WeightsRejected, or DepthError when OpenVINO does not compute what torch does.
    """
    if sha256_of(weights) != sha256:
        raise WeightsRejected(str(weights), f"the file has changed: its sha256 is no longer {sha256[:16]}...")
    from streamd.depth.models.export import TorchNetwork

    _note("imported torch")
    network = TorchNetwork(spec, weights)
    _note("loaded the network")
    inputs = calibration_inputs(spec.preprocessing)
    _note("read the demo clip")
    outputs = np.concatenate([network(planes[None]) for planes in inputs])
    _note("ran torch")
    model = network.to_openvino(inputs[:1])
    _note("converted")
    prove_equal(model, network, spec.preprocessing)
    _note("proved equal to torch")
    with tempfile.TemporaryDirectory(prefix=f".{directory.name}-", dir=directory.parent) as temporary:
        made = Path(temporary) / "artefact"
        made.mkdir()
        openvino.save_model(model, made / "model.xml", compress_to_fp16=False)
        np.savez(made / "calibration.npz", inputs=inputs, outputs=outputs)
        files = list(made.iterdir())
        for file in files:
            sync(file)
        sizes = {file.name: file.stat().st_size for file in files}
        write_json(made / "artefact.json", {"model": spec.name, "sha256": sha256, "files": sizes})
        if directory.exists():
            shutil.rmtree(directory)  # what a power cut left
        made.rename(directory)
        sync(directory.parent)
    _note("saved")


def calibration_inputs(how: Preprocessing) -> FloatImage:
    """(8, 3, h, w) float32: frames spread over the demo clip, as the network would see them live."""
    preprocess = VideoPreprocessor()
    with resources.as_file(resources.files("streamd") / "assets" / "demo.mp4") as clip, av.open(str(clip)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        step = max(stream.frames // _FRAMES, 1)
        frames = [
            preprocess(frame, how)[0] for index, frame in enumerate(container.decode(stream)) if index % step == 0
        ]
    return np.stack(frames[:_FRAMES])


def prove_equal(model: openvino.Model, network: TorchNetwork, how: Preprocessing) -> None:
    """Raises DepthError where OpenVINO's float32 differs by more than 1e-4 from torch, at several sizes."""
    compiled = _compile(model, "fp32")
    for count, (width, height) in enumerate((network_size(*picture, how) for picture in _PICTURES), start=1):
        planes = _noise(min(count, 2), width, height)
        expected = network(planes)
        difference = np.abs(compiled(planes)[0] - expected).max() / np.abs(expected).max()
        if not difference <= MAX_DIFFERENCE:
            raise DepthError(f"OpenVINO differs from torch by {difference:.1e} at {width}x{height}")


def measure(directory: Path) -> Profile:
    """What this CPU makes of the artefact. Raises DepthError when no precision agrees with torch."""
    with np.load(directory / "calibration.npz") as calibration:
        inputs, outputs = calibration["inputs"], calibration["outputs"]
    model = openvino.Core().read_model(directory / "model.xml")
    model.reshape([1, *inputs.shape[1:]])
    networks = {name: _compile(model, name) for name in _precisions()}
    times: dict[str, list[float]] = {name: [] for name in networks}
    errors: dict[str, list[float]] = {name: [] for name in networks}
    for attempt in range(1 + _ROUNDS):  # the first to warm up; in turns, so that a busy moment hits all alike
        for planes, expected in zip(inputs, outputs, strict=True):
            for name, network in networks.items():
                started = time.perf_counter()
                depth = network(planes[None])[0][0]
                if attempt == 0:
                    errors[name].append(error_share(depth, expected))
                else:
                    times[name].append(1e3 * (time.perf_counter() - started))
    measured = {name: Measured(round(statistics.median(times[name]), 3), max(errors[name])) for name in networks}
    proven = {name: result.ms for name, result in measured.items() if result.error <= MAX_ERROR}
    if not proven:
        raise DepthError(f"no precision agrees with torch on this CPU: {measured}")
    return Profile(
        cpu=artefact.cpu()[0],
        cores=artefact.core_count(),
        openvino=artefact.openvino_version(),
        width=inputs.shape[3],
        height=inputs.shape[2],
        precisions=measured,
        chosen=min(proven, key=proven.__getitem__),
    )


def error_share(depth: FloatImage, expected: FloatImage) -> float:
    """Mean |difference| as a share of the 2-98 % spread of what was expected; infinite for a NaN."""
    low, high = np.percentile(expected, (2, 98))
    error = float(np.abs(depth - expected).mean() / max(high - low, np.finfo(np.float32).tiny))
    return error if math.isfinite(error) else math.inf


def _precisions() -> list[str]:
    capabilities = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return ["fp32", "bf16"] if "BF16" in capabilities else ["fp32"]


def _compile(model: openvino.Model, precision: str) -> openvino.CompiledModel:
    hints = {"INFERENCE_PRECISION_HINT": _HINTS[precision], "PERFORMANCE_HINT": "LATENCY"}
    return openvino.Core().compile_model(model, "CPU", hints)


def _noise(count: int, width: int, height: int) -> FloatImage:
    """(count, 3, height, width) float32, of the spread of a normalised picture."""
    return np.random.default_rng(0).standard_normal((count, 3, height, width), np.float32)


def _note(done: str) -> None:
    print(f"{time.monotonic() - _STARTED:6.2f} s {done}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
