"""How much a camera may send, and for how long, before a picture comes of it: what bounds the memory that it takes."""

from __future__ import annotations

import ctypes
import time
from functools import cache

import av.utils

from streamd.errors import SourceUnsupported

MIB = 1 << 20
MAX_BYTES = 64 * MIB
"""Between two pictures. A key frame of 8K video has about 10 MB."""
MAX_BLOCK_BYTES = 256 * MIB
"""One allocation of FFmpeg. A plane of an 8K picture has 64 MiB at 16 bits."""


class OverBudget(SourceUnsupported):
    """A camera sends more than anybody needs for what it is."""


class Budget:
    """Of all connections of one source together. One thread's."""

    def __init__(self, name: str, deadline_s: float, max_bytes: int = MAX_BYTES) -> None:
        """``name`` is for the error; ``deadline_s`` when the first picture must be there, by the monotonic clock."""
        self._name = name
        self.deadline_s = deadline_s
        self._max_bytes = max_bytes
        self._bytes = 0

    def renew(self, seconds: float) -> None:
        """A picture came: the next may take as many bytes again, and so many seconds."""
        self.deadline_s = time.monotonic() + seconds
        self._bytes = 0

    def spend(self, count: int) -> None:
        """``count`` bytes came. Raises OverBudget."""
        self._bytes += count
        if self._bytes > self._max_bytes:
            raise OverBudget(self._name, f"sent {self._max_bytes // MIB} MiB without a picture: refused")


@cache
def limit_allocations() -> None:
    """Of FFmpeg, in this process: a header of a few bytes can make it reserve gigabytes, as an RTSP answer's length or
    an MP4's number of samples does. What is larger fails with "out of memory"."""
    library = ctypes.CDLL(av.utils.__file__)  # finds what it is linked to
    library.av_max_alloc(ctypes.c_size_t(MAX_BLOCK_BYTES))
