"""A checkpoint file becomes the tensors of a network, or is refused with one readable line."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from streamd.errors import WeightsRejected


def load_network(build: Callable[[], nn.Module], path: Path, floats: Collection[torch.dtype]) -> nn.Module:
    """``build()`` with the weights of ``path``, in float32 and eval mode.

    ``floats`` are the types in which the file may hold its floating-point tensors. Keys, shapes
    and types must be those of the network, all numbers finite. Raises WeightsRejected.
    """
    state = read_state(path)
    with torch.device("meta"):  # no time lost on an initialisation that is thrown away
        network = build()
    if reason := _mismatch(state, network.state_dict(), floats):
        raise WeightsRejected(str(path), reason)
    network.load_state_dict({key: _full_precision(value) for key, value in state.items()}, strict=True, assign=True)
    return network.eval().requires_grad_(False)


def read_state(path: Path) -> dict[str, Tensor]:
    """The named tensors of a torch checkpoint or a .safetensors file (found by content), on the CPU.

    Runs no code from the file. Takes the plain forms {key: tensor}, {"state_dict": ...} and
    {"model": ..., "optimizer": ...}. Raises WeightsRejected.
    """
    try:
        state = _read(path)
    except OSError as error:
        raise WeightsRejected(str(path), (error.strerror or str(error)).lower()) from error
    except Exception as error:  # a hostile or cut file may raise anything that an unpickler can
        raise WeightsRejected(str(path), _unreadable(error)) from error
    for wrapper in ("state_dict", "model"):
        if isinstance(state, Mapping) and isinstance(state.get(wrapper), Mapping):
            state = state[wrapper]
    if not isinstance(state, Mapping) or not state:
        raise WeightsRejected(str(path), "not a checkpoint: no named tensors in it")
    odd = [str(key) for key, value in state.items() if not isinstance(key, str) or not _is_plain(value)]
    if odd:
        raise WeightsRejected(str(path), f"not a checkpoint: {_some(odd, 'value', 'other than plain tensors')}")
    return dict(state)


def _read(path: Path) -> object:
    with path.open("rb") as file:
        head = file.read(9)
    if head[8:] == b"{":  # safetensors: 8 bytes of length, then JSON
        from safetensors.torch import load_file

        return load_file(path)
    return torch.load(path, map_location="cpu", weights_only=True)


def _unreadable(error: Exception) -> str:
    text = str(error)
    if "Weights only load failed" in text or "weights_only" in text:
        return "not plain weights: it is no checkpoint, or asks to run code"
    return f"not a readable checkpoint, or cut short ({type(error).__name__})"


def _is_plain(value: object) -> bool:
    return isinstance(value, Tensor) and value.device.type == "cpu" and value.layout == torch.strided


def _mismatch(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor], floats: Collection[torch.dtype]) -> str:
    """What keeps ``state`` from being the weights of this network; empty when nothing does."""
    missing, extra = wanted.keys() - state.keys(), state.keys() - wanted.keys()
    if missing or extra:
        found = [_some(keys, "key", what) for keys, what in ((missing, "missing"), (extra, "unexpected")) if keys]
        return f"{', '.join(found)} of {len(wanted)}"
    kinds = {key: f"{key}: {_kind(state[key])} for {_kind(wanted[key])}" for key in wanted}
    if wrong := [kinds[key] for key in wanted if state[key].shape != wanted[key].shape]:
        return _some(wrong, "tensor", "of the wrong shape")
    if wrong := [kinds[key] for key in wanted if not _fits(state[key].dtype, wanted[key].dtype, floats)]:
        return _some(wrong, "tensor", "of the wrong type")
    if wrong := [key for key in wanted if not torch.isfinite(state[key]).all()]:
        return _some(wrong, "tensor", "with NaN or infinite numbers")
    return ""


def _fits(given: torch.dtype, wanted: torch.dtype, floats: Collection[torch.dtype]) -> bool:
    return given in floats if wanted.is_floating_point else given == wanted


def _full_precision(value: Tensor) -> Tensor:
    return value.float() if value.is_floating_point() else value


def _kind(value: Tensor) -> str:
    """``float32 64x32x3x3``"""
    return f"{value.dtype} {'x'.join(map(str, value.shape))}".removeprefix("torch.").strip()


def _some(names: Collection[str], noun: str, what: str) -> str:
    """How many, and the first three, on one line whatever they hold."""
    shown = [ascii(name)[1:-1][:90] for name in sorted(names)[:3]]
    shown += ["..."] * (len(names) > 3)
    return f"{len(names)} {noun}{'s' * (len(names) != 1)} {what} ({', '.join(shown)})"
