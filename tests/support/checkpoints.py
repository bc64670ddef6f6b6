"""Checkpoints in the official layout with random numbers: what a test loads where the real weights may not be."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from streamd.depth.checkpoint import Array
from streamd.depth.graph.parameters import Parameters
from streamd.depth.graph.torch import TorchOps
from streamd.depth.models import find_model

State = dict[str, Tensor]

_DATA = Path(__file__).parent.parent / "data"
_LAST = {
    "midas_small": "scratch.output_conv.4",
    "dpt_hybrid": "scratch.output_conv.4",
    "dpt_large": "scratch.output_conv.4",
    "dpt_swin2_tiny_256": "scratch.output_conv.4",
    "dpt_levit_224": "scratch.output_conv.4",
    "zipdepth": "decoder.head_half",
    "depth_anything_v2_small": "depth_head.scratch.output_conv2.2",
    "leres_resnet50": "module.depth_model.decoder_modules.outconv.adapt_conv.3",
    "leres_resnext101": "module.depth_model.decoder_modules.outconv.adapt_conv.3",
}
"""The convolution that gives the depth, mostly of what a ReLU let through."""
_TABLES = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


def official_keys(name: str) -> tuple[str | None, dict[str, list[int]]]:
    """Of the official file of a model: under what it keeps its tensors, and their shapes."""
    content = json.loads((_DATA / f"{name}_keys.json").read_text())
    for wrapper, inner in content.items():
        if isinstance(inner, dict):
            return wrapper, inner
    return None, content


def random_state(name: str, seed: int = 0, sides: Mapping[int, int] | None = None) -> State:
    """All tensors of the official file. The network then gives positive, varied depth.

    ``sides`` are other lengths in place of those of the tensors' sides: for a narrower network."""
    random, others = torch.Generator().manual_seed(seed), sides or {}
    state = {
        key: _tensor(key, [others.get(side, side) for side in shape], random)
        for key, shape in official_keys(name)[1].items()
    }
    state[f"{_LAST[name]}.weight"].abs_()
    state[f"{_LAST[name]}.bias"].fill_(0.5)
    return state


def cheap_state(name: str) -> dict[str, Array]:
    """The same shapes without the memory: one number repeated."""
    keys = official_keys(name)[1]
    return {key: np.broadcast_to(np.array(1, _kind(key)), shape) for key, shape in keys.items()}


class _ShapesOnly(TorchOps):
    """Nothing is computed."""

    def constant(self, value: Array) -> Tensor:
        return torch.empty(value.shape, device="meta")


def try_state(name: str, state: Mapping[str, Array], width: int, height: int) -> tuple[int, ...]:
    """The shape of the output of a network with these weights, at no cost. Raises WeightsRejected."""
    parameters = Parameters(state, Path(f"{name}.pt"))
    ops = _ShapesOnly(parameters, nn.Module())
    depth = find_model(name).network(ops, torch.empty(1, 3, height, width, device="meta"))
    parameters.check()
    return tuple(depth.shape)


def write_checkpoint(name: str, path: Path, state: State) -> Path:
    """Nested as the official file is."""
    wrapper, _ = official_keys(name)
    torch.save(state if wrapper is None else {wrapper: state}, path)
    return path


def midas_small_state(seed: int = 0) -> State:
    """The 482 tensors of midas_v21_small_256.pt. The network then gives positive, varied depth."""
    return random_state("midas_small", seed)


def write_midas_small(path: Path, seed: int = 0) -> Path:
    torch.save(midas_small_state(seed), path)
    return path


def _kind(key: str) -> type[np.generic]:
    return np.int64 if key.endswith(("num_batches_tracked", "_idxs")) else np.float32


def _tensor(key: str, shape: list[int], random: torch.Generator) -> Tensor:
    if key.endswith("num_batches_tracked"):
        return torch.tensor(1000)
    if key.endswith("_idxs"):
        return torch.zeros(shape, dtype=torch.int64)
    if key.endswith("logit_scale"):
        return torch.empty(shape).uniform_(1.5, 3.0, generator=random)
    if key in _TABLES:
        return torch.tensor(_TABLES[key]).reshape(shape)
    if key.endswith("running_var"):
        return torch.empty(shape).uniform_(0.5, 1.5, generator=random)
    if len(shape) == 2:
        return torch.empty(shape).normal_(0, shape[1] ** -0.5, generator=random)
    if len(shape) == 4:  # He, for what a ReLU halves
        return torch.empty(shape).normal_(0, math.sqrt(2 / math.prod(shape[1:])), generator=random)
    if key.endswith("weight"):
        return torch.empty(shape).uniform_(0.4, 0.8, generator=random)
    return torch.empty(shape).normal_(0, 0.1, generator=random)
