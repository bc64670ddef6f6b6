"""What is asked of a server and what it may answer, whatever carries it."""

from __future__ import annotations

import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from streamd.config.redact import HIDDEN, shorten
from streamd.errors import DepthError
from streamd.media.frames import ByteImage, FloatImage

PICTURES, DEPTH = "pictures", "depth"
"""Of the graph that ``models export --format triton`` writes: RGB uint8 (n, h, w, 3), and float32 (n, h, w)."""
MAX_OTHER_BYTES = 64 << 10
"""Of an answer beside its depth: headers, JSON, what protobuf adds."""
_MAX_SHOWN = 160


class NoAnswer(Exception):
    """Why a server gave none that can be used, as a person may read it: its own words are cut and redacted."""

    def __init__(self, reason: str) -> None:
        super().__init__(shorten(reason, _MAX_SHOWN))


class Late(NoAnswer):
    """Nothing wrong came back, but not in time."""

    def __init__(self) -> None:
        super().__init__("no answer in time")


class Client(Protocol):
    """One server. ``connect`` and ``close`` from one thread, ``infer`` from any, also at once. Everything but name
    resolution in ``connect`` ends by ``until``, of time.monotonic, and raises NoAnswer for whatever is not as it should
    be."""

    def connect(self, until: float) -> None:
        """Forgets the connections that there are, and looks its name up again."""
        ...

    def check_ready(self, until: float) -> None:
        """That server and model are ready."""
        ...

    def check_metadata(self, until: float) -> None:
        """That the model takes pictures and gives depth, where the server says so."""
        ...

    def infer(self, pictures: ByteImage, until: float) -> FloatImage:
        """(1, h, w, 3) RGB to (h, w), finite."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True)
class Tensor:
    """As a server describes one."""

    name: str
    datatype: str
    shape: tuple[int, ...]


def check_tensors(inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> None:
    """Of metadata. Some servers say nothing of tensors: then the first answer tells. Raises NoAnswer."""
    for tensors, name, datatype, axes in ((inputs, PICTURES, "UINT8", 4), (outputs, DEPTH, "FP32", 3)):
        if not tensors:
            continue
        tensor = next((each for each in tensors if each.name == name), None)
        if tensor is None:
            raise NoAnswer(f"its model has no {name!r}, but {', '.join(repr(each.name) for each in tensors[:4])}")
        if (tensor.datatype, len(tensor.shape)) != (datatype, axes) or (axes == 4 and tensor.shape[3] not in (3, -1)):
            raise NoAnswer(f"its model has {name!r} as {tensor.datatype} {list(tensor.shape[:8])}")


def depth_of(tensor: Tensor, data: bytes | memoryview, height: int, width: int) -> FloatImage:
    """(h, w) float32, of what came back: a view of it. Raises NoAnswer."""
    if tensor.name != DEPTH or tensor.datatype != "FP32" or tensor.shape != (1, height, width):
        raise NoAnswer(
            f"answered {tensor.name!r} as {tensor.datatype} {list(tensor.shape[:8])}, not {[1, height, width]}"
        )
    if len(data) != 4 * height * width:
        raise NoAnswer(f"answered {len(data)} bytes of depth, not {4 * height * width}")
    depth = np.frombuffer(data, "<f4").reshape(height, width)
    if not np.isfinite(depth).all():
        raise NoAnswer("answered depth that is not finite")
    return depth


def hide(token: str, said: str) -> str:
    """What a server said, without what let us in: some repeat that in their errors."""
    return said.replace(token, HIDDEN) if token else said


def left_s(until: float) -> float:
    """Raises Late when nothing is left."""
    left = until - time.monotonic()
    if left <= 0:
        raise Late
    return left


def tls_context(ca: str) -> ssl.SSLContext:
    """Raises DepthError."""
    try:
        return ssl.create_default_context(cafile=ca or None)
    except OSError as error:  # ssl.SSLError is one
        raise DepthError(f"model.endpoint_ca: {ca}: cannot be used: {error.strerror or error}") from None
