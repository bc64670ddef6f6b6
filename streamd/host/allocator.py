"""Keeps the memory of a long-lived process flat: glibc's heaps and Python's garbage collector."""

from __future__ import annotations

import ctypes
import gc

_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8


def configure() -> None:
    """For a process whose threads come and go, before it starts them (mallopt(3)).

    By default glibc gives each thread a heap of its own, up to eight a core, and what is freed in one
    helps none of the others. And after the first picture that was freed it takes pictures from there
    too, where they leave holes.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, 2)
        mallopt(_M_MMAP_THRESHOLD, 256 * 1024)


def freeze_modules() -> None:
    """Exempts what is loaded now, mostly modules, from garbage collection (gc.freeze): it then takes less time."""
    gc.collect()
    gc.freeze()


def release_memory() -> None:
    """Frees the memory of viewers and cameras that have gone. Stops all Python threads for some ms.

    aiortc's peers refer to themselves, and dozens of them pile up until Python collects by itself. Of what
    is free, glibc gives back only what is at the end of a heap, unless asked (malloc_trim(3)).
    """
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
