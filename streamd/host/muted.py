"""Keeps C libraries from printing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

STANDARD_ERROR = 2


@contextmanager
def libraries_muted() -> Iterator[None]:
    """Standard error goes nowhere, where libpng and libjpeg print what they think of a picture.

    For a command that has nothing else to say meanwhile, not for the daemon: it is that of the whole process.
    """
    kept = os.dup(STANDARD_ERROR)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, STANDARD_ERROR)
        yield
    finally:
        os.dup2(kept, STANDARD_ERROR)
        os.close(kept)
        os.close(nowhere)
