"""streamd turns cameras into live depth video on a CPU."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streamd.media.frames import FloatImage

__version__ = "0.1.0"

# OpenCV reads these once, when it loads, so they are set before anything of ours imports it.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(24 * 1024 * 1024))  # a small file can claim to be huge
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # streamd reports a bad picture itself, in one line
os.environ.setdefault("OPENCV_FOR_THREADS_NUM", "1")  # the cores are shared out by us


def read_depth(path: str | os.PathLike[str]) -> Iterator[tuple[float, FloatImage]]:
    """The frames of a depth16 recording or conversion: (time in seconds, (h, w) float32 relative inverse depth, larger
    is nearer), at the network's own size. Raises ValueError for another file, OSError for one that cannot be read."""
    from streamd.media.depth16 import read_depth

    return read_depth(path)
