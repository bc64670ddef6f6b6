"""Runs 1/model.onnx or 1/model.xml in a tritonserver that has the python backend only.

Start it with --model-config-name=python. Its Python needs NumPy, and openvino or onnxruntime.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import triton_python_backend_utils as triton


class TritonPythonModel:
    def initialize(self, args: dict[str, str]) -> None:
        folder = Path(args["model_repository"], args["model_version"])
        file = next(path for path in (folder / "model.onnx", folder / "model.xml") if path.exists())
        try:
            self._run = _by_openvino(file)
        except ImportError:
            self._run = _by_onnxruntime(file)

    def execute(self, requests: list[Any]) -> list[Any]:
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        pictures = triton.get_input_tensor_by_name(request, "pictures").as_numpy()
        return triton.InferenceResponse([triton.Tensor("depth", self._run(pictures))])


def _by_openvino(file: Path) -> Callable[[Any], Any]:
    import openvino

    network = openvino.Core().compile_model(str(file), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return lambda pictures: network(pictures)[0].copy()


def _by_onnxruntime(file: Path) -> Callable[[Any], Any]:
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=onnxruntime.get_available_providers())
    return lambda pictures: session.run(["depth"], {"pictures": pictures})[0]
