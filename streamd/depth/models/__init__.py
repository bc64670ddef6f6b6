"""The networks that streamd knows, by name."""

from __future__ import annotations

from streamd.config.sections import ModelConfig
from streamd.depth.models import embedded, midas_small
from streamd.depth.models.base import Download, ModelSpec, Preprocessing
from streamd.errors import ConfigError, Problem, UsageError

MODELS = {
    spec.name: spec
    for spec in (
        ModelSpec(
            name="midas_small",
            title="MiDaS v2.1 small",
            licence="MIT",
            network=midas_small.network,
            preprocessing=Preprocessing(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
            download=Download(
                url="https://github.com/isl-org/MiDaS/releases/download/v2_1/midas_v21_small_256.pt",
                sha256_prefix="70d6b9c8",
            ),
        ),
        ModelSpec(
            name="embedded",
            title="streamd embedded (coarse)",
            licence="MIT",
            network=embedded.network,
            preprocessing=Preprocessing(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), interpolation="area"),
            coarse=True,
            embedded_weights="embedded.safetensors",
        ),
    )
}


def find_model(name: str) -> ModelSpec:
    """Raises UsageError with the names that exist."""
    try:
        return MODELS[name]
    except KeyError:
        raise UsageError(f"model {name}: unknown; there are: {', '.join(MODELS)}") from None


def check_input_size(config: ModelConfig) -> None:
    """Raises ConfigError when the model of ``config`` does not take its input size."""
    try:
        find_model(config.name).preprocessing.sized(config.input_size)
    except ValueError as error:
        raise ConfigError([Problem("model.input_size", str(config.input_size), f"{config.name} {error}")]) from None


__all__ = ["MODELS", "Download", "ModelSpec", "Preprocessing", "check_input_size", "find_model"]
