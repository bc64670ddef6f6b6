"""ONNX: NAME.onnx. ``planes`` in, ``depth`` out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import onnx

from streamd.depth.export.reference import Reference, Source
from streamd.depth.export.written import Written
from streamd.depth.graph.onnx import build_onnx
from streamd.depth.ort import onnxruntime
from streamd.host.whole_file import WholeFile


def write(source: Source, reference: Reference, directory: Path) -> Written:
    path = directory / f"{source.spec.name}.onnx"
    with WholeFile(path) as file:
        save(build_onnx(source.spec, source.weights), source.facts(), file.part)
        error = reference.check(loaded(file.part))
    return Written(path, [path], error)


def save(model: onnx.ModelProto, facts: dict[str, str], path: Path) -> None:
    """With what one has to know of it as metadata. Raises onnx.checker.ValidationError."""
    onnx.helper.set_model_props(model, facts)
    onnx.save(model, path)
    onnx.checker.check_model(str(path), full_check=True)


def loaded(path: Path) -> Any:
    """Runs it by ONNX Runtime on the CPU."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    return lambda value: session.run(None, {given.name: value})[0]
