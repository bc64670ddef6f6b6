"""A checkpoint file becomes the tensors of a network, or is refused with one readable line."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
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
    """The named tensors of a torch checkpoint or a .safetensors file (told by content), on the CPU.

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
        raise WeightsRejected(str(path), f"not a checkpoint: {len(odd)} entries are no plain tensors ({_some(odd)})")
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
        found = [
            f"{len(keys)} keys {what} ({_some(keys)})"
            for keys, what in ((missing, "missing"), (extra, "unexpected"))
            if keys
        ]
        return f"{', '.join(found)} of {len(wanted)}"
    wrong = [
        f"{key} is {_size(state[key])}, not {_size(value)}"
        for key, value in wanted.items()
        if state[key].shape != value.shape
    ]
    if wrong:
        return f"{len(wrong)} tensors of the wrong shape: {_some(wrong)}"
    wrong = [
        f"{key} is {_type(state[key])}"
        for key, value in wanted.items()
        if state[key].dtype not in (floats if value.is_floating_point() else (value.dtype,))
    ]
    if wrong:
        return f"{len(wrong)} tensors of the wrong type: {_some(wrong)}"
    wrong = [key for key, value in state.items() if not torch.isfinite(value).all()]
    if wrong:
        return f"{len(wrong)} tensors hold NaN or infinite numbers: {_some(wrong)}"
    return ""


def _full_precision(value: Tensor) -> Tensor:
    return value.float() if value.is_floating_point() else value


def _size(value: Tensor) -> str:
    return "x".join(map(str, value.shape)) or "a single number"


def _type(value: Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")


def _some(names: Iterable[str]) -> str:
    """The first three, on one line whatever they hold."""
    names = sorted(names)
    shown = [ascii(name)[1:-1][:90] for name in names[:3]]
    return ", ".join(shown) + (", ..." if len(names) > 3 else "")
