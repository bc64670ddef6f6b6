"""ONNX models with no more in them than the names of other files, byte by byte."""

from __future__ import annotations


def field(number: int, content: bytes) -> bytes:
    """One that has a length."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def tensor(location: str) -> bytes:
    """TensorProto: external_data, and data_location EXTERNAL."""
    entry = field(1, b"location") + field(2, location.encode())
    return field(8, b"weight") + field(13, entry) + field(13, field(1, b"offset") + field(2, b"0")) + b"\x70\x01"


def onnx_naming(*locations: str) -> bytes:
    """ModelProto, with a version before the graph and numbers of its own in it."""
    own = field(5, field(9, bytes(300)))
    return b"\x08\x08" + field(7, own + b"".join(field(5, tensor(location)) for location in locations))


def _varint(value: int) -> bytes:
    low = []
    while value > 127:
        low.append(value & 127 | 128)
        value >>= 7
    return bytes([*low, value])
