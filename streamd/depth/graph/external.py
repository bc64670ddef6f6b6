"""Which files an ONNX model keeps its numbers in, beside its own: read from its protocol buffers, without onnx."""

from __future__ import annotations

import functools
import mmap
from collections.abc import Iterator
from pathlib import Path

_FIELDS: dict[str, dict[int, str]] = {
    "model": {7: "graph", 25: "function"},
    "function": {7: "node"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
}
"""Of onnx.proto: where messages hold others that may lead to a tensor, by number."""
_MAX_DEPTH = 64


def external_files(model: Path) -> list[Path]:
    """Those that its tensors name, sorted, whether or not they are there; none of a file that is no such model. A place
    outside the model's folder is left out: whatever runs the model refuses it. Raises OSError."""
    status = model.stat()
    return list(_external_files(model, status.st_mtime_ns, status.st_size))


@functools.lru_cache(maxsize=32)
def _external_files(model: Path, changed: int, size: int) -> tuple[Path, ...]:
    if not size:
        return ()
    with model.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        try:
            named = set(_locations(content, 0, len(content), "model", 0))
        except (IndexError, UnicodeDecodeError):  # no protocol buffers: who loads it says so
            return ()
    inside = [Path(name) for name in named if name and not Path(name).is_absolute() and ".." not in Path(name).parts]
    return tuple(sorted(model.parent / name for name in inside))


def _locations(content: mmap.mmap, start: int, end: int, kind: str, depth: int) -> Iterator[str]:
    """Raises IndexError when it is cut short or no such message."""
    if depth > _MAX_DEPTH:
        raise IndexError
    for number, first, last in _parts(content, start, end):
        inner = _FIELDS[kind].get(number)
        if inner == "entry":
            entry = {number: content[first:last] for number, first, last in _parts(content, first, last)}
            if entry.get(1) == b"location":
                yield entry.get(2, b"").decode()
        elif inner is not None:
            yield from _locations(content, first, last, inner, depth + 1)


def _parts(content: mmap.mmap, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(number, start, end) of each field that has a length (protobuf.dev, "Encoding")."""
    while at < end:
        tag, at = _varint(content, at)
        match tag & 7:
            case 0:
                _, at = _varint(content, at)
            case 1:
                at += 8
            case 5:
                at += 4
            case 2:
                length, at = _varint(content, at)
                if at + length > end:
                    raise IndexError
                yield tag >> 3, at, at + length
                at += length
            case _:
                raise IndexError


def _varint(content: mmap.mmap, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = content[at]
        value |= (byte & 127) << shift
        at += 1
        if byte < 128:
            return value, at
    raise IndexError
