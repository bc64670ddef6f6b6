"""The networks that streamd knows, by name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from streamd.depth.models import (
    depth_anything_v2_small,
    dpt_hybrid,
    dpt_large,
    dpt_levit_224,
    dpt_swin2_tiny_256,
    embedded,
    leres,
    midas_small,
    zipdepth,
)
from streamd.depth.models.base import Download, ModelSpec, Preprocessing
from streamd.errors import ConfigError, Problem, UsageError

if TYPE_CHECKING:  # a worker of one of these networks does without pydantic
    from streamd.config.sections import ModelConfig

MODELS = {
    spec.name: spec
    for spec in (
        midas_small.SPEC,
        embedded.SPEC,
        zipdepth.SPEC,
        dpt_hybrid.SPEC,
        dpt_large.SPEC,
        dpt_swin2_tiny_256.SPEC,
        dpt_levit_224.SPEC,
        leres.RESNET50,
        leres.RESNEXT101,
        depth_anything_v2_small.SPEC,
    )
}


def find_model(name: str) -> ModelSpec:
    """By its name, or by the path of its manifest. Raises UsageError with the names that exist, ConfigError when the
    manifest is at fault."""
    if (known := MODELS.get(name)) is not None:
        return known
    from streamd.config.sections import is_manifest
    from streamd.depth.models.manifest import read_manifest

    if is_manifest(name):
        return read_manifest(Path(name))
    raise UsageError(f"model {name}: unknown; there are: {', '.join(MODELS)}")


def timeout_s(config: ModelConfig, spec: ModelSpec) -> float:
    """How long an inference may take."""
    return max(config.timeout_s, spec.least_timeout_s)


def memory_limit_bytes(config: ModelConfig, spec: ModelSpec) -> int:
    """What the worker may hold."""
    return max(config.memory_limit_mb, spec.least_memory_mb) * 1_000_000


def check_input_size(config: ModelConfig) -> None:
    """Raises ConfigError when the model of ``config`` does not take its input size, or no weights."""
    if config.weights is not None and config.name not in MODELS:
        raise ConfigError([Problem("model.weights", str(config.weights), "the manifest names the file")])
    try:
        find_model(config.name).preprocessing.sized(config.input_size)
    except ValueError as error:
        raise ConfigError([Problem("model.input_size", str(config.input_size), f"{config.name} {error}")]) from None


__all__ = [
    "MODELS",
    "Download",
    "ModelSpec",
    "Preprocessing",
    "check_input_size",
    "find_model",
    "memory_limit_bytes",
    "timeout_s",
]
