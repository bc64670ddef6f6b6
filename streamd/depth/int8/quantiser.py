"""The child that quantises a network and tries it: ``python -m streamd.depth.int8.quantiser``, started by verdict.py.

The one door to NNCF: an extra, imported here only. It knows of no telemetry, for ``depth.ov`` keeps that out of reach.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from streamd.concurrency.threads import lower_priority
from streamd.depth import child
from streamd.depth.files import sha256_of, write_json
from streamd.depth.graph.openvino import load_model
from streamd.depth.int8 import scenes
from streamd.depth.int8.guard import compare
from streamd.depth.int8.scenes import Take
from streamd.depth.int8.verdict import Verdict, graph_files
from streamd.depth.models import find_model
from streamd.depth.models.manifest import network_files
from streamd.depth.ov import has_bf16, openvino
from streamd.errors import WeightsRejected
from streamd.media.frames import FloatImage

_LAYERS = ("Convolution", "GroupConvolution", "ConvolutionBackpropData", "MatMul")
_EXACT_ENDS = (0, -2, -1)
"""Layers that stay in floating point, as those do that look at one channel each: the error is made there, and leaving
them out costs little time (measured)."""


def main(arguments: list[str]) -> int:
    """``MODEL WEIGHTS SHA256 VERDICT PICTURES``: PICTURES is a file descriptor. Returns the exit code."""
    lower_priority(10)  # live streams go first
    _die_first()
    with child.reported() as ended:
        model, weights, sha256, path, pictures = arguments
        spec = find_model(model)
        if sha256_of(*network_files(Path(weights))) != sha256:
            raise WeightsRejected(weights, f"the file has changed: its sha256 is no longer {sha256[:16]}...")
        takes = scenes.read(int(pictures))
        learnt, tests = scenes.split(takes, spec.preprocessing)
        exact = load_model(spec, Path(weights))
        made = quantise(load_model(spec, Path(weights)), scenes.calibration(learnt, spec.preprocessing))
        figures = compare(
            _run(exact, tests, "f32"),
            _run(made, tests, "bf16" if has_bf16() else "f32"),
            _run(exact, tests, "bf16") if has_bf16() else None,
        )
        graph = _save(made, Path(path)) if figures.good else ""
        counts = [sum(len(take.planes) for take in each) for each in (learnt, tests)]
        verdict = Verdict(figures.good, figures, counts[0], counts[1], scenes.are_enough(takes), graph)
        write_json(Path(path), verdict.to_json())
    return ended.code


def quantise(model: openvino.Model, pictures: Sequence[FloatImage]) -> openvino.Model:
    """``pictures``: (1, 3, h, w) float32 each, of one size or of several."""
    import nncf

    nncf.set_log_level(logging.ERROR)
    quantised: openvino.Model = nncf.quantize(
        model,
        nncf.Dataset(pictures),
        subset_size=len(pictures),
        model_type=nncf.ModelType.TRANSFORMER if _attends(model) else None,
        ignored_scope=nncf.IgnoredScope(names=_exact(model)),
    )
    return quantised


def _exact(model: openvino.Model) -> list[str]:
    """Names of layers that are not quantised."""
    layers = [node for node in model.get_ordered_ops() if node.get_type_name() in _LAYERS and _has_weights(node)]
    ends = [layers[place] for place in _EXACT_ENDS if len(layers) > len(_EXACT_ENDS)]
    return sorted({node.get_friendly_name() for node in [*ends, *filter(_is_depthwise, layers)]})


def _has_weights(node: openvino.Node) -> bool:
    source = node.input_value(1).get_node()
    while source.get_type_name() in ("Convert", "Reshape"):
        source = source.input_value(0).get_node()
    return bool(source.get_type_name() == "Constant")


def _is_depthwise(node: openvino.Node) -> bool:
    return node.get_type_name() == "GroupConvolution" and list(node.input_value(1).shape)[1:3] == [1, 1]


def _attends(model: openvino.Model) -> bool:
    return any(node.get_type_name() in ("Softmax", "ScaledDotProductAttention") for node in model.get_ops())


def _run(model: openvino.Model, takes: Sequence[Take], hint: str) -> list[FloatImage]:
    """(n, h, w) of each take."""
    settings = {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "LATENCY"}
    compiled = openvino.Core().compile_model(model, "CPU", settings)
    return [
        np.concatenate([np.array(compiled(planes[None].astype(np.float32))[0]) for planes in take.planes])
        for take in takes
    ]


def _save(model: openvino.Model, verdict: Path) -> str:
    """Beside the verdict, which names it by what it returns: the digest."""
    targets, parts = graph_files(verdict), graph_files(verdict.with_name(f"part-{verdict.name}"))
    openvino.save_model(model, str(parts[0]), compress_to_fp16=False)
    for part, target in zip(parts, targets, strict=True):
        part.replace(target)
    return sha256_of(*targets)


def _die_first() -> None:
    """Where memory runs out."""
    try:
        Path("/proc/self/oom_score_adj").write_text("1000")
    except OSError:
        pass


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
