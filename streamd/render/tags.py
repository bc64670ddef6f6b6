"""The tags of a TIFF structure: a TIFF file is one, and so is EXIF. Files that people have may lie in each number."""

from __future__ import annotations

import struct
from dataclasses import dataclass

Bytes = bytes | bytearray | memoryview

_ORDERS = {b"II": "<", b"MM": ">"}
_INTEGERS = {1: "B", 3: "H", 4: "I", 16: "Q"}  # BYTE, SHORT, LONG, and BigTIFF's LONG8
_ASTRAY = (KeyError, OverflowError, struct.error)
_MAX_ENTRIES = 4096
_MAX_VALUES = 16
"""Of one tag: enough for what is said of each sample, and far from what a hostile count asks for."""


@dataclass(frozen=True)
class _Layout:
    """Where things are in a directory: in TIFF, and in BigTIFF with its wider numbers."""

    count: str
    entry: str
    """Tag, type, count; the value follows."""
    offset: str
    first: int
    """Where the offset of the first directory is."""


_LAYOUTS = {42: _Layout("H", "HHI", "I", 4), 43: _Layout("Q", "HHQ", "Q", 8)}


def read_tags(data: Bytes) -> dict[int, tuple[int, ...]]:
    """The integers of each tag in the first directory, by its number; what is out of bounds is left out.

    TIFF 6.0, section 2; EXIF 2.32, 4.6.2.
    """
    try:
        order = _ORDERS[bytes(data[:2])]
        layout = _LAYOUTS[struct.unpack_from(f"{order}H", data, 2)[0]]
        (at,) = struct.unpack_from(order + layout.offset, data, layout.first)
        (entries,) = struct.unpack_from(order + layout.count, data, at)
    except _ASTRAY:
        return {}
    at += struct.calcsize(layout.count)
    size = struct.calcsize("<" + layout.entry + layout.offset)
    found: dict[int, tuple[int, ...]] = {}
    for number in range(min(entries, _MAX_ENTRIES)):
        try:
            tag, values = _entry(data, at + number * size, order, layout)
        except _ASTRAY:
            continue
        if values:
            found.setdefault(tag, values)
    return found


def _entry(data: Bytes, at: int, order: str, layout: _Layout) -> tuple[int, tuple[int, ...]]:
    """Raises what is _ASTRAY."""
    tag, kind, count = struct.unpack_from(order + layout.entry, data, at)
    form = f"{order}{min(count, _MAX_VALUES)}{_INTEGERS[kind]}"
    value = at + struct.calcsize("<" + layout.entry)
    if count * struct.calcsize(order + _INTEGERS[kind]) > struct.calcsize("<" + layout.offset):
        (value,) = struct.unpack_from(order + layout.offset, data, value)
    return tag, struct.unpack_from(form, data, value)
