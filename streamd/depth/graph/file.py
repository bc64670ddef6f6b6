"""The networks of ONNX and OpenVINO files as OpenVINO graphs like our own."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np

from streamd.depth.graph.signature import Shape, Signature
from streamd.depth.models.base import Preprocessing
from streamd.depth.ov import openvino as ov
from streamd.depth.ov import opset
from streamd.depth.preprocess import network_size
from streamd.errors import WeightsRejected

log = logging.getLogger(__name__)


def read_model(file: Path, how: Preprocessing) -> ov.Model:
    """(1, 3, h, w) to (1, h, w), float32, for the sizes that the file takes. Raises WeightsRejected."""
    try:
        model = ov.Core().read_model(str(file))
    except RuntimeError as error:
        log.debug("%s", error)
        kind = "ONNX model" if file.suffix == ".onnx" else "OpenVINO model"
        raise WeightsRejected(str(file), f"not a readable {kind}, or cut short: {_reason(error)}") from None
    try:
        signature = Signature.of(_ends(model.inputs), _ends(model.outputs), how)
    except ValueError as error:
        raise WeightsRejected(str(file), str(error)) from None
    _check_size(model, file, nhwc=signature.nhwc, how=how)
    depth = model.get_results()[0].input_value(0)
    if signature.output_axes:
        depth = opset.squeeze(depth, opset.constant(np.array(signature.output_axes, np.int64))).output(0)
    depth = opset.unsqueeze(depth, opset.constant(np.int64(0))).output(0)
    model = ov.Model([opset.result(depth)], model.get_parameters(), "depth")
    return _as_float_nchw(model, nhwc=signature.nhwc)


def _check_size(model: ov.Model, file: Path, *, nhwc: bool, how: Preprocessing) -> None:
    """By an example, of what takes any size. Raises WeightsRejected."""
    width, height = network_size(1, 1, how)
    tried = model.clone()
    try:
        tried.reshape([1, height, width, 3] if nhwc else [1, 3, height, width])
        Signature.of(
            _ends(tried.inputs), _ends(tried.outputs), replace(how, fit="exact", input_size=width, height=height)
        )
    except RuntimeError as error:
        raise WeightsRejected(str(file), f"it does not take {width}x{height}: {_reason(error)}") from None
    except ValueError as error:
        raise WeightsRejected(str(file), str(error)) from None


def _as_float_nchw(model: ov.Model, *, nhwc: bool) -> ov.Model:
    steps = ov.preprocess.PrePostProcessor(model)
    steps.input().tensor().set_element_type(ov.Type.f32).set_layout(ov.Layout("NCHW"))
    steps.input().model().set_layout(ov.Layout("NHWC" if nhwc else "NCHW"))
    steps.output().tensor().set_element_type(ov.Type.f32)
    return steps.build()


def _ends(ends: list[ov.Output]) -> list[tuple[str, Shape]]:
    found: list[tuple[str, Shape]] = []
    for end in ends:
        shape = end.get_partial_shape()
        sides = [] if shape.rank.is_dynamic else [side.get_length() if side.is_static else None for side in shape]
        found.append((min(end.get_names(), default="unnamed"), sides))
    return found


def _reason(error: RuntimeError) -> str:
    """The last line that says something."""
    lines = [" ".join(line.split()) for line in str(error).splitlines() if line.strip()]
    return lines[-1][:160] if lines else "it gave no reason"
