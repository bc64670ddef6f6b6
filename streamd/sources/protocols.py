"""What the FFmpeg in PyAV can fetch by itself."""

from __future__ import annotations

import ctypes
from functools import cache

import av.utils

from streamd.config.address import SourceAddress, SourceKind

_BY_FFMPEG = (SourceKind.RTMP, SourceKind.SRT, SourceKind.UDP)


def lacking(source: str) -> str | None:
    """Why ``source`` can never be opened here; None: it may."""
    address = SourceAddress.parse(source)
    if address.kind not in _BY_FFMPEG or address.scheme in protocols():
        return None
    return f"PyAV's FFmpeg has no {address.scheme.upper()}: let the camera send RTSP, or a relay between"


@cache
def protocols() -> frozenset[str]:
    """By FFmpeg's names."""
    library = ctypes.CDLL(av.utils.__file__)  # finds what it is linked to; PyAV has no list of them
    library.avio_enum_protocols.restype = ctypes.c_char_p
    position, names = ctypes.c_void_p(), set[str]()
    while name := library.avio_enum_protocols(ctypes.byref(position), ctypes.c_int(0)):
        names.add(name.decode())
    return frozenset(names)
