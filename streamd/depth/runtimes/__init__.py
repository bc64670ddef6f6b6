"""What runs networks. Each is a module of its name, which only the worker process imports."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from streamd.depth.models import ModelSpec, check_input_size, find_model
from streamd.errors import ConfigError, Problem

if TYPE_CHECKING:  # the worker does without pydantic
    from streamd.config.sections import ModelConfig

_NEEDS = {"onnxruntime": ("onnxruntime", "onnx"), "torch": ("torch",)}
"""Packages that the core does not bring."""
_EXTRAS = {"onnxruntime": "onnx", "torch": "torch"}
LOCAL = "openvino"
"""What runs the network here beside remote endpoints."""
_FP32_ONLY = ("onnxruntime",)
_INT8 = ("auto", "openvino")


def module_of(runtime: str) -> str:
    """Of "onnxruntime:CUDA" onnxruntime."""
    return runtime.partition(":")[0]


def missing_package(runtime: str) -> str | None:
    """The first that it needs and that is not installed."""
    needed = _NEEDS.get(module_of(runtime), ())
    return next((package for package in needed if importlib.util.find_spec(package) is None), None)


def not_installed(runtime: str, package: str) -> Problem:
    name = module_of(runtime)
    advice = f': pip install "streamd[{_EXTRAS[name]}]"' if name in _EXTRAS else ""
    return Problem(f"runtime {name}", "", f"{package} is not installed{advice}")


def check_model(config: ModelConfig) -> None:
    """Raises ConfigError when it asks for what cannot be done here. Reads a manifest, when one is named."""
    check_input_size(config)
    check_runtime(config)


def check_runtime(config: ModelConfig) -> None:
    """Raises ConfigError when the runtime of ``config`` is not installed, or cannot do what it should."""
    runtime = config.runtime
    if runtime == "remote" and (lacking := _lacks_grpc(config)):
        raise ConfigError([lacking])
    if package := missing_package(runtime):
        raise ConfigError([not_installed(runtime, package)])
    if config.precision not in ("auto", "fp32") and module_of(runtime) in _FP32_ONLY:
        raise ConfigError([Problem("model.precision", config.precision, f"{runtime} computes in fp32")])
    if config.precision == "int8":
        if runtime not in _INT8:
            raise ConfigError([Problem("model.precision", "int8", f"{runtime} does not compute in it: openvino does")])
        if reason := lacks_int8():
            raise ConfigError([Problem("model.precision", "int8", reason)])
    spec = find_model(config.name)
    if not runs(runtime, spec):
        raise ConfigError([Problem("model.runtime", runtime, f"does not run {spec.file}")])


def _lacks_grpc(config: ModelConfig) -> Problem | None:
    missing = [name for name in ("grpc", "google.protobuf") if not _is_installed(name)]
    if not missing or not any(url.lower().startswith("grpc") for url in config.endpoints):
        return None
    return Problem(
        "model.endpoints", "", f'{missing[0]} is not installed: pip install "streamd[remote]", or use http://'
    )


def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # what it is in
        return False


def lacks_int8() -> str | None:
    """Why nothing can be made to run in int8 here."""
    return 'nncf is not installed: pip install "streamd[int8]"' if _lacks_nncf() else None


def _lacks_nncf() -> bool:
    return importlib.util.find_spec("nncf") is None


def runs(runtime: str, spec: ModelSpec) -> bool:
    """Whether it takes networks of this kind."""
    if spec.file is None or runtime in ("auto", "openvino"):
        return True
    return module_of(runtime) == "onnxruntime" and spec.file.suffix == ".onnx"
