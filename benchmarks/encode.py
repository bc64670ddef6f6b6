"""What encoding the live depth view costs: now, at half its size, against commit f747694, at its full one.

The depth of each clip is inferred once; then both take turns over the same frames. Settings of before are read from
that commit's source. PSNR is that of the luma against the full-size picture as it was drawn, after an enlargement as
browsers do it. Prints JSON.
"""

from __future__ import annotations

import argparse
import ast
import itertools
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args
from unittest.mock import patch

import av
import common
import cv2
import numpy as np
from common import log, median
from still import RATE, SCENES, SIZE, make_clip

from streamd.config.sections import ModelConfig, StreamConfig, View
from streamd.depth.estimator import as_inverse_depth
from streamd.depth.preprocess import VideoPreprocessor
from streamd.depth.range import DepthRange
from streamd.depth.service import DepthService
from streamd.depth.steady import SteadyDepth
from streamd.depth.store import ModelStore, default_directories
from streamd.media import encode
from streamd.media.encode import LiveEncoder
from streamd.media.frames import Codec, EncodedPacket, FloatImage, Picture, Stamp, canvas, yuv_planes
from streamd.render.views import Renderer, half_size

BEFORE, SOURCE_BEFORE = "f747694", "streamd/encode.py"
PATTERNS = {"test pattern": "testsrc2", "fractal": "mandelbrot"}
ENLARGEMENTS = {"bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC}
CLIPS = ("moving", "static, noise 4", "object half the time", *PATTERNS)


def main() -> None:
    options = _parser().parse_args()
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="streamd-bench-") as temporary:
        folder = Path(temporary)
        weights = common.weights_for(options.model, folder / "home")
        for name in options.clips:
            log(f"clip {name}")
            depths = infer(clip_of(name, folder, options.seconds), options.model, weights)
            results[name] = {codec: in_turns(depths, codec, options.view, options.rounds) for codec in get_args(Codec)}
    facts = {"benchmark": "encode", "view": options.view, "model": options.model, "weights": weights.kind}
    json.dump(facts | {"box": common.machine(), "clips": results}, sys.stdout, indent=1)
    print()


# -- the depth of a clip ------------------------------------------------------------------------------


def clip_of(name: str, folder: Path, seconds: float) -> Path:
    path = folder / f"{name}.mp4"
    if name in SCENES:
        return make_clip(path, SCENES[name], seconds)
    if name not in PATTERNS:
        return Path(name)
    graph = f"{PATTERNS[name]}=size={SIZE[0]}x{SIZE[1]}:rate={RATE}"
    command = ["ffmpeg", "-loglevel", "error", "-f", "lavfi", "-i", graph, "-t", str(seconds), "-bf", "0", str(path)]
    subprocess.run(command, check=True)
    return path


def infer(clip: Path, model: str, weights: common.Weights) -> list[FloatImage]:
    """What a stream would draw: steadied, and normalised to the range."""
    service = DepthService(ModelConfig(name=model), ModelStore(*default_directories(weights.environment)))
    service.start()
    info, preprocess = service.wait_ready(), VideoPreprocessor()
    steady, limits, depths = SteadyDepth(StreamConfig(source="demo:").smoothing), DepthRange(), []
    try:
        with av.open(str(clip)) as source:
            for number, picture in enumerate(source.decode(video=0)):
                planes, luma = preprocess(picture, info.spec.preprocessing)
                depth = as_inverse_depth(service.submit(info, planes, picture=SIZE).result(), info.spec)
                shown = steady.blend(depth, luma, model, refreshed=False)
                depths.append(limits.normalise(shown, number / RATE, model).copy())
    finally:
        service.close()
    return depths


def drawn(depths: list[FloatImage], view: View, *, half: bool) -> Iterator[Picture]:
    renderer, source = Renderer(edges=StreamConfig(source="demo:").edges), canvas(*SIZE)
    for depth in depths:
        renderer.begin(depth, source, None)
        yield renderer.draw(view, half=half)


# -- both encoders ------------------------------------------------------------------------------------


def settings_before() -> dict[str, Any]:
    """The constants of that commit's encoder, and the function of its cap."""
    shown = subprocess.run(
        ["git", "show", f"{BEFORE}:{SOURCE_BEFORE}"], cwd=common.ROOT, check=True, capture_output=True, text=True
    )
    module = ast.parse(shown.stdout)
    wanted = [node for node in module.body if isinstance(node, ast.Assign | ast.FunctionDef)]
    module.body = [node for node in wanted if getattr(node, "name", "bitrate_kbps") == "bitrate_kbps"]
    found: dict[str, Any] = {"math": math}
    exec(compile(module, SOURCE_BEFORE, "exec"), found)
    return found


def encoder_before(codec: Codec) -> LiveEncoder:
    before = settings_before()
    with patch.multiple(encode, _H264=before["_H264"], _VP8=before["_VP8"]):
        return LiveEncoder(*SIZE, codec=codec, kbps=before["bitrate_kbps"](*SIZE))


def encoder_now(codec: Codec) -> LiveEncoder:
    return LiveEncoder(*half_size(*SIZE), codec=codec, half=True)


def in_turns(depths: list[FloatImage], codec: Codec, view: View, rounds: int) -> dict[str, Any]:
    turns: dict[str, list[dict[str, float]]] = {"before": [], "now": []}
    for _ in range(rounds):
        for name, encoder in (("before", encoder_before(codec)), ("now", encoder_now(codec))):
            turns[name].append(_turn(encoder, depths, codec, view, half=name == "now"))
    figures = {
        name: {figure: median([turn[figure] for turn in each]) for figure in each[0]} for name, each in turns.items()
    }
    ratio = {
        figure: median([now[figure] / before[figure] for before, now in zip(*turns.values(), strict=True)])
        for figure in ("cpu_ms_per_frame", "kbps")
    }
    return figures | {"ratio": ratio, "recorded_too": {"cpu": round(1 + ratio["cpu_ms_per_frame"], 3)}}


def _turn(encoder: LiveEncoder, depths: list[FloatImage], codec: Codec, view: View, *, half: bool) -> dict[str, float]:
    cpu_s, packets = 0.0, []
    for number, picture in enumerate(drawn(depths, view, half=half)):
        began = time.process_time()
        packets += encoder.encode(picture, Stamp(number, number * 90_000 // RATE, number / RATE))
        cpu_s += time.process_time() - began
    bits = 8 * sum(len(packet.data) for packet in packets)
    return {
        "cpu_ms_per_frame": 1e3 * cpu_s / len(depths),
        "kbps": bits * RATE / len(depths) / 1e3,
    } | psnr(packets, depths, codec, view)


def psnr(packets: list[EncodedPacket], depths: list[FloatImage], codec: Codec, view: View) -> dict[str, float]:
    decoder = av.CodecContext.create(codec, "r")
    pictures = itertools.chain.from_iterable(decoder.decode(av.Packet(packet.data)) for packet in packets)
    errors: dict[str, list[float]] = {name: [] for name in ENLARGEMENTS}
    for shown, wanted in zip(pictures, drawn(depths, view, half=False), strict=True):
        assert isinstance(shown, av.VideoFrame)
        for name, how in ENLARGEMENTS.items():
            luma = cv2.resize(yuv_planes(shown)[0], SIZE, interpolation=how).astype(np.float32)
            errors[name].append(float(np.mean((luma - yuv_planes(wanted)[0]) ** 2)))
    return {f"db_{name}": 10 * math.log10(255**2 / float(np.mean(each))) for name, each in errors.items()}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=("midas_small", "embedded"), default="embedded")
    parser.add_argument("--view", choices=("depth", "gray"), default="depth")
    parser.add_argument(
        "--clips", nargs="+", default=list(CLIPS), metavar="CLIP", help="files of 1280x720, or of these"
    )
    parser.add_argument("--seconds", type=float, default=10, help="length of the clips (10)")
    parser.add_argument("--rounds", type=int, default=3, help="how often the two take turns (3)")
    return parser


if __name__ == "__main__":
    main()
