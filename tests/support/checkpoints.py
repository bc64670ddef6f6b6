"""Checkpoints in the official layout with random numbers: what a test loads where the real weights may not be."""

from __future__ import annotations

import json
import math
from pathlib import Path

import torch
from torch import Tensor

_KEYS = Path(__file__).parent.parent / "data" / "midas_small_keys.json"


def midas_small_state(seed: int = 0) -> dict[str, Tensor]:
    """The 482 tensors of midas_v21_small_256.pt. The network then gives positive, varied depth."""
    random = torch.Generator().manual_seed(seed)
    shapes: dict[str, list[int]] = json.loads(_KEYS.read_text())
    state = {key: _tensor(key, shape, random) for key, shape in shapes.items()}
    state["scratch.output_conv.4.weight"].abs_()  # a sum of what a ReLU let through
    state["scratch.output_conv.4.bias"].fill_(0.5)
    return state


def write_midas_small(path: Path, seed: int = 0) -> Path:
    torch.save(midas_small_state(seed), path)
    return path


def _tensor(key: str, shape: list[int], random: torch.Generator) -> Tensor:
    if key.endswith("num_batches_tracked"):
        return torch.tensor(1000)
    if key.endswith("running_var"):
        return torch.empty(shape).uniform_(0.5, 1.5, generator=random)
    if len(shape) == 4:  # He, for what a ReLU halves
        return torch.empty(shape).normal_(0, math.sqrt(2 / math.prod(shape[1:])), generator=random)
    if key.endswith("weight"):
        return torch.empty(shape).uniform_(0.4, 0.8, generator=random)
    return torch.empty(shape).normal_(0, 0.1, generator=random)
