"""A model repository of Triton Inference Server: NAME/config.pbtxt and NAME/1/. RGB uint8 in, as (n, h, w, 3).

What is normalised is normalised in the graph: a picture is sent in a quarter of the bytes. The model is ONNX where the
extra `onnx` is installed, else OpenVINO IR: Triton has a backend for each. ``configs/python.pbtxt`` is for a server
that has the python backend only, as that of nvidia-pytriton: ``tritonserver --model-config-name=python`` runs
``1/model.py``.
"""

from __future__ import annotations

from contextlib import ExitStack
from importlib import resources
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from streamd.depth.export import openvino as ir
from streamd.depth.export.reference import Reference, Source
from streamd.depth.export.written import Written
from streamd.depth.graph.openvino import load_model
from streamd.depth.ov import openvino as ov
from streamd.depth.ov import opset
from streamd.host.whole_file import WholeFile

MAX_BATCH = 8
_INPUT = {"input": "pictures: RGB uint8, (n, height, width, 3)"}


def write(source: Source, reference: Reference, directory: Path) -> Written:
    home = directory / source.spec.name
    for folder in (home / "1", home / "configs"):
        folder.mkdir(parents=True, exist_ok=True)
    has_onnx = find_spec("onnx") is not None
    names = ["1/model.onnx"] if has_onnx else ["1/model.xml", "1/model.bin"]
    with ExitStack() as stack:
        files = [stack.enter_context(WholeFile(home / name)) for name in names]
        if has_onnx:
            error = _write_onnx(source, reference, files[0].part)
        else:
            error = _write_ir(source, reference, files[0].part, files[1].part)
        side = _only_side(source)
        texts = {
            "1/model.py": (resources.files("streamd") / "assets" / "triton_model.py").read_text(),
            "configs/python.pbtxt": config(source.spec.name, "python", side),
            "config.pbtxt": config(source.spec.name, "onnxruntime" if has_onnx else "openvino", side),
        }
        for name, text in texts.items():
            stack.enter_context(WholeFile(home / name)).write(text.encode())
    return Written(home, [home / name for name in (*names, *texts)], error)


def config(name: str, backend: str, only_side: int | None = None) -> str:
    """Of model_config.proto: dims are without the batch."""
    sides = "-1, -1" if only_side is None else f"{only_side}, {only_side}"
    return f"""name: "{name}"
backend: "{backend}"
max_batch_size: {MAX_BATCH}
input [
  {{
    name: "pictures"
    data_type: TYPE_UINT8
    dims: [ {sides}, 3 ]
  }}
]
output [
  {{
    name: "depth"
    data_type: TYPE_FP32
    dims: [ {sides} ]
  }}
]
dynamic_batching {{ }}
"""


def _only_side(source: Source) -> int | None:
    how = source.spec.preprocessing
    return how.max_side if how.min_side == how.max_side else None


def _normalising(source: Source) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """(scale, shift), (3, 1, 1) each: planes = scale * codes + shift."""
    how = source.spec.preprocessing
    mean, std = np.array(how.mean), np.array(how.std)
    scale, shift = 1 / (255 * std), -mean / std
    return scale.astype(np.float32).reshape(3, 1, 1), shift.astype(np.float32).reshape(3, 1, 1)


def _write_onnx(source: Source, reference: Reference, path: Path) -> float:
    from onnx import TensorProto, helper, numpy_helper

    from streamd.depth.export import onnx as export
    from streamd.depth.graph.onnx import build_onnx

    model = build_onnx(source.spec, source.weights)
    graph = model.graph
    (planes,) = graph.input
    scale, shift = _normalising(source)
    graph.initializer.extend([numpy_helper.from_array(scale, "scale"), numpy_helper.from_array(shift, "shift")])
    nodes = [
        helper.make_node("Cast", ["pictures"], ["codes"], to=TensorProto.FLOAT),
        helper.make_node("Transpose", ["codes"], ["code_planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Mul", ["code_planes", "scale"], ["scaled"]),
        helper.make_node("Add", ["scaled", "shift"], [planes.name]),
        *graph.node,
    ]
    sides = [_only_side(source) or name for name in ("height", "width")]
    pictures = helper.make_tensor_value_info("pictures", TensorProto.UINT8, ["n", *sides, 3])
    del graph.node[:], graph.input[:]
    graph.node.extend(nodes)
    graph.input.append(pictures)
    export.save(model, source.facts() | _INPUT, path)
    return reference.check_pictures(export.loaded(path))


def _write_ir(source: Source, reference: Reference, xml: Path, weights: Path) -> float:
    network = load_model(source.spec, source.weights)
    scale, shift = (opset.constant(each) for each in _normalising(source))
    side = _only_side(source) or -1
    pictures = opset.parameter(ov.PartialShape([-1, side, side, 3]), np.uint8, "pictures")
    codes = opset.transpose(opset.convert(pictures, np.float32), opset.constant(np.array([0, 3, 1, 2])))
    normal = opset.add(opset.multiply(codes, scale), shift).output(0)
    (planes,) = network.get_parameters()
    for target in planes.output(0).get_target_inputs():
        target.replace_source_output(normal)
    ir.save(ov.Model(network.get_results(), [pictures], "depth"), source.facts() | _INPUT, xml, weights, "pictures")
    return reference.check_pictures(ir.loaded(ov.Core().read_model(xml, weights)))
