"""HEIC and AVIF pictures, decoded in a child (`heif_child.py`): a crafted file ends that and takes nothing with it."""

from __future__ import annotations

import json
import mmap
import os
import re
import subprocess
import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamd.errors import PictureError
from streamd.render.heif_child import LACKING, TOO_LARGE
from streamd.render.picture_header import Header
from streamd.render.picture_kinds import MAX_PIXELS, Kind, damaged, named, too_large

TIMEOUT_S = 20.0
_COMMAND = [sys.executable, "-m", "streamd.render.heif_child"]
_PACKAGES = {"HEIC": "pillow-heif", "AVIF": "pillow"}
_KEPT = re.compile(r"PATH|LD_LIBRARY_PATH|VIRTUAL_ENV|PYTHON[A-Z]+|COV(ERAGE)?_[A-Z_]+")
"""Of our environment: the rest may hold passwords."""


def decode(kind: Kind, data: bytes | bytearray) -> tuple[NDArray[Any], Header]:
    """Pixels in OpenCV's order, BGR or BGRA of uint8 or gray of either width, and what is to be known of them.
    The size that the file claims is checked before anything is decoded. Raises PictureError."""
    environment = {name: value for name, value in os.environ.items() if _KEPT.fullmatch(name)}
    with open(os.memfd_create("pixels"), "w+b") as made:
        try:
            done = subprocess.run(
                [*_COMMAND, kind, str(made.fileno()), str(MAX_PIXELS)],
                input=data,
                capture_output=True,
                env=environment | {"OPENBLAS_NUM_THREADS": "1"},
                pass_fds=[made.fileno()],
                start_new_session=True,  # a Ctrl-C is ours to handle
                timeout=TIMEOUT_S,
            )
        except subprocess.TimeoutExpired:
            raise PictureError(f"takes longer than {TIMEOUT_S:.0f} s to read: save it as JPEG or PNG") from None
        _check(done.returncode, kind)
        said = json.loads(done.stdout)
        pixels = np.frombuffer(mmap.mmap(made.fileno(), 0), said["dtype"]).reshape(said["shape"])
    white = 65535 if pixels.dtype == np.uint16 else None
    return pixels, Header(said["orientation"], white, alpha="premultiplied" if said["premultiplied"] else "straight")


def _check(code: int, kind: Kind) -> None:
    """Raises PictureError unless a child that ended with this code has read its picture."""
    if code == LACKING:
        package = _PACKAGES[kind]
        raise PictureError(
            f"is {named(kind)}, which takes {package} to read: pip install {package}, or convert it to JPEG or PNG"
        )
    if code == TOO_LARGE:
        raise too_large()
    if code:
        raise damaged(kind)
