"""Keeps C libraries from printing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

STANDARD_ERROR = 2


@contextmanager
def libraries_muted() -> Iterator[TextIO]:
    """Standard error goes nowhere, where libpng and libjpeg print what they think of a picture.

    Yields what leads there still. For a command, not for the daemon: it is that of the whole process.
    """
    kept = os.dup(STANDARD_ERROR)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, STANDARD_ERROR)
        with open(kept, "w", closefd=False, errors="backslashreplace") as file:
            yield file
    finally:
        os.dup2(kept, STANDARD_ERROR)
        os.close(kept)
        os.close(nowhere)
