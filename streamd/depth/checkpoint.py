"""Checkpoint files become named NumPy arrays, without torch and without running code from the file."""

from __future__ import annotations

import collections
import json
import math
import mmap
import pickle
import pickletools
import zipfile
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from streamd.errors import WeightsRejected

Array = NDArray[Any]
State = Mapping[str, Array]

WRAPPERS = ("state_dict", "model_state_dict", "model", "depth_model")
"""Under which training scripts keep the weights, beside other things."""
PREFIXES = ("module.", "_orig_mod.", "depth_model.")
"""What DataParallel, torch.compile and LeReS put before every key."""
MAX_PICKLE_BYTES = 64 << 20
_BFLOAT16 = "bfloat16"
_DTYPES: Mapping[str, np.dtype[Any]] = {
    "float64": np.dtype("<f8"),
    "float32": np.dtype("<f4"),
    "float16": np.dtype("<f2"),
    _BFLOAT16: np.dtype("<u2"),
    "int64": np.dtype("<i8"),
    "int32": np.dtype("<i4"),
    "int16": np.dtype("<i2"),
    "int8": np.dtype("i1"),
    "uint8": np.dtype("u1"),
    "bool": np.dtype("?"),
}
_STORAGES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": _BFLOAT16,
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}
_SAFETENSORS = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": _BFLOAT16,
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_OVERLAP = "not a checkpoint: its tensors share their place in the file"


class _Unreadable(Exception):
    """Why a file is refused."""


def read_state(path: Path) -> dict[str, Array]:
    """The named tensors of a torch checkpoint, new or old, or of a .safetensors file (found by content).

    Arrays are read-only views of the file where it allows that; bfloat16 becomes float32. Takes {key: tensor} and
    that inside one of ``WRAPPERS``, with or without ``PREFIXES``. Raises WeightsRejected.
    """
    try:
        state = _read(path)
    except _Unreadable as error:
        raise WeightsRejected(str(path), str(error)) from error
    except OSError as error:
        raise WeightsRejected(str(path), (error.strerror or str(error)).lower()) from error
    except Exception as error:  # a hostile or cut file may raise anything that an unpickler can
        reason = f"not a readable checkpoint, or cut short ({type(error).__name__})"
        raise WeightsRejected(str(path), reason) from error
    for wrapper in WRAPPERS:
        if isinstance(state, Mapping) and isinstance(state.get(wrapper), Mapping):
            state = state[wrapper]
    if not isinstance(state, Mapping) or not state:
        raise WeightsRejected(str(path), "not a checkpoint: no named tensors in it")
    if odd := [
        str(key) for key, value in state.items() if not isinstance(key, str) or not isinstance(value, np.ndarray)
    ]:
        raise WeightsRejected(str(path), f"not a checkpoint: {some(odd, 'value', 'other than plain tensors')}")
    return _without_prefixes(state)


def some(names: Collection[str], noun: str, what: str) -> str:
    """How many, and the first three, on one line whatever they hold."""
    shown = [ascii(name)[1:-1][:90] for name in sorted(names)[:3]]
    shown += ["..."] * (len(names) > 3)
    return f"{len(names)} {noun}{'s' * (len(names) != 1)} {what} ({', '.join(shown)})"


def _without_prefixes(state: State) -> dict[str, Array]:
    for prefix in PREFIXES:
        if all(key.startswith(prefix) for key in state):
            state = {key.removeprefix(prefix): value for key, value in state.items()}
    return dict(state)


def _read(path: Path) -> Any:
    with path.open("rb") as file:
        head = file.read(9)
        if not head:
            raise _Unreadable("not a checkpoint: it is empty")
        content = np.frombuffer(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), np.uint8)
        if head[8:] == b"{":  # 8 bytes of length, then JSON
            return _read_safetensors(content)
        file.seek(0)
        return _read_zip(file, content) if head.startswith(b"PK") else _read_legacy(file, content)


def _read_safetensors(content: Array) -> dict[str, Array]:
    """huggingface/safetensors, "Format"."""
    start = 8 + int(content[:8].view("<u8")[0])
    if start > min(content.size, MAX_PICKLE_BYTES):
        raise _Unreadable("not a readable checkpoint, or cut short: its header is longer than the file")
    header: dict[str, Any] = json.loads(bytes(content[8:start]))
    header.pop("__metadata__", None)
    state, total = {}, 0
    for key, about in header.items():
        begin, end = about["data_offsets"]
        kind, shape = _SAFETENSORS[about["dtype"]], about["shape"]
        count = math.prod(shape)
        if not 0 <= begin <= end <= content.size - start or end - begin != count * _DTYPES[kind].itemsize:
            raise _Unreadable("not a readable checkpoint, or cut short: a tensor lies outside the file")
        total += end - begin
        if total > content.size:
            raise _Unreadable(_OVERLAP)
        state[key] = _numbers(content[start + begin : start + end], kind, count).reshape(shape)
    return state


@dataclass
class _Storage:
    """The numbers behind one or more tensors."""

    kind: str
    key: str
    count: int
    numbers: Array | None = None


@dataclass(frozen=True)
class _Tensor:
    """What the pickle says of a tensor; its numbers may come later in the file."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def array(self) -> Array:
        numbers = self.storage.numbers
        if numbers is None:
            raise _Unreadable("not a readable checkpoint, or cut short: numbers of a tensor are missing")
        sizes = [*self.shape, *self.strides, self.offset]
        if not all(type(each) is int and each >= 0 for each in sizes) or len(self.shape) != len(self.strides):
            raise _Unreadable("not a checkpoint: a tensor of impossible shape")
        last = self.offset + sum((side - 1) * step for side, step in zip(self.shape, self.strides, strict=True))
        if 0 not in self.shape and last >= numbers.size:
            raise _Unreadable("not a readable checkpoint, or cut short: a tensor is larger than its numbers")
        steps = [step * numbers.itemsize for step in self.strides]
        return np.lib.stride_tricks.as_strided(numbers[self.offset :], self.shape, steps, writeable=False)


def _rebuild_tensor(storage: _Storage, offset: int, shape: Any, strides: Any, *_: object) -> _Tensor:
    """torch._utils._rebuild_tensor and _rebuild_tensor_v2."""
    if not isinstance(storage, _Storage):
        raise _Unreadable("not a checkpoint: a tensor without numbers")
    return _Tensor(storage, offset, tuple(shape), tuple(strides))


def _rebuild_parameter(tensor: _Tensor, *_: object) -> _Tensor:
    return tensor


_CONSTRUCTORS: Mapping[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch", "Size"): tuple,
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
}
"""All that a pickle may call."""


class _Unpickler(pickle.Unpickler):
    """Plain containers and tensors, nothing else."""

    def __init__(self, file: IO[bytes], storages: dict[str, _Storage]) -> None:
        super().__init__(file, encoding="utf-8")
        self._storages = storages

    def find_class(self, module: str, name: str) -> Any:
        if (found := _CONSTRUCTORS.get((module, name))) is not None:
            return found
        if module in ("torch", "torch.storage") and name in _STORAGES:
            return _STORAGES[name]
        raise _Unreadable(f"not plain weights: it asks to run code ({ascii(module)[1:-1]}.{ascii(name)[1:-1]})"[:200])

    def persistent_load(self, identity: Any) -> _Storage:
        word, kind, key, _, count, *_ = identity
        if word != "storage" or kind not in _DTYPES or type(count) is not int or not isinstance(key, str):
            raise _Unreadable("not a checkpoint: numbers of an unknown kind")
        return self._storages.setdefault(key, _Storage(kind, key, count))


def _unpickled(file: IO[bytes], storages: dict[str, _Storage]) -> Any:
    """The next pickle. The unpickler makes room for as many memos as the largest number of one: none is larger than
    the pickle is long so far."""
    start = file.tell()
    for opcode, argument, position in pickletools.genops(file):
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and (argument or 0) > (position or 0) - start:
            raise _Unreadable("not a checkpoint: a pickle that would take all memory")
    file.seek(start)
    return _Unpickler(file, storages).load()


def _read_zip(file: IO[bytes], content: Array) -> Any:
    """What torch.save has written since 1.6: a pickle and one entry for each storage."""
    with zipfile.ZipFile(file) as archive:
        entries = {info.filename.partition("/")[2]: info for info in archive.infolist()}
        if "data.pkl" not in entries:
            raise _Unreadable("not a checkpoint: a zip file of something else")
        if entries["data.pkl"].file_size > MAX_PICKLE_BYTES:
            raise _Unreadable("not a checkpoint: its pickle is too large")
        if "byteorder" in entries:
            with archive.open(entries["byteorder"]) as order:
                if order.read(6) != b"little":
                    raise _Unreadable("not plain weights: they are big-endian")
        storages: dict[str, _Storage] = {}
        with archive.open(entries["data.pkl"]) as pickled:
            state = _unpickled(pickled, storages)
        if sum(storage.count * _DTYPES[storage.kind].itemsize for storage in storages.values()) > content.size:
            raise _Unreadable(_OVERLAP)
        for storage in storages.values():
            info = entries.get(f"data/{storage.key}")
            if info is None or info.compress_type != zipfile.ZIP_STORED:
                raise _Unreadable("not a readable checkpoint, or cut short: numbers of a tensor are missing")
            # Local header: 30 bytes, of which the last four are the lengths of a name and of what pads (APPNOTE 4.3.7).
            name, extra = content[info.header_offset + 26 : info.header_offset + 30].view("<u2")
            start = info.header_offset + 30 + int(name) + int(extra)
            storage.numbers = _numbers(content[start : start + info.file_size], storage.kind, storage.count)
    return _arrays(state)


def _read_legacy(file: IO[bytes], content: Array) -> Any:
    """What torch.save wrote before 1.6: pickles, then the storages one after the other."""
    storages: dict[str, _Storage] = {}
    magic, protocol = (_unpickled(file, {}) for _ in range(2))
    if (magic, protocol) != (_LEGACY_MAGIC, _LEGACY_PROTOCOL):
        raise _Unreadable("not a checkpoint: no named tensors in it")
    _unpickled(file, {})  # about the machine that wrote it
    state = _unpickled(file, storages)
    keys = _unpickled(file, {})
    start = file.tell()
    for key in keys:
        storage = storages[key]
        count = int(content[start : start + 8].view("<i8")[0])
        start += 8
        storage.numbers = _numbers(content[start:], storage.kind, count)
        start += storage.numbers.size * _DTYPES[storage.kind].itemsize
    return _arrays(state)


def _numbers(content: Array, kind: str, count: int) -> Array:
    """The first ``count`` of them, float32 for bfloat16: before tensors share or repeat them, so that the file's size
    bounds the memory."""
    dtype = _DTYPES[kind]
    if count < 0 or count * dtype.itemsize > content.size:
        raise _Unreadable("not a readable checkpoint, or cut short: fewer numbers than it says")
    numbers = np.frombuffer(content, dtype, count)
    return _from_bfloat16(numbers) if kind == _BFLOAT16 else numbers


def _arrays(value: Any) -> Any:
    """The same with arrays for tensors, in what may hold the weights: dictionaries in dictionaries."""
    if isinstance(value, _Tensor):
        return value.array()
    if isinstance(value, Mapping):
        return {key: _arrays(each) for key, each in value.items()}
    return value


def _from_bfloat16(array: Array) -> Array:
    """The upper half of a float32."""
    return (array.astype(np.uint32) << 16).view(np.float32)
