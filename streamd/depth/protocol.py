"""The protocol between the daemon and its depth worker: small messages on a socket, pixels in shared memory.

The socket is SOCK_SEQPACKET, so a message arrives whole or not at all. The memory is a memfd that
only the two processes hold: nothing is left behind in /dev/shm when one of them is killed.
"""

from __future__ import annotations

import json
import mmap
import struct
from dataclasses import asdict, dataclass, replace
from typing import NamedTuple

import numpy as np

from streamd.media.frames import FloatImage

_REQUEST = struct.Struct("<III??")
_REPLY = struct.Struct("<4sI")
MESSAGE_BYTES = 4096

READY, PREPARING, DONE, FAILED, REFUSED = b"REDY", b"PREP", b"DONE", b"FAIL", b"RFSD"
ENDPOINT = b"ENDP"
"""In the place of the slot the endpoint's number in the list, from 1, and why it does not serve; no text: it does."""


@dataclass(frozen=True)
class WorkerJob:
    """All that a worker process needs to know, as JSON in its command line (it holds no secret)."""

    model: str
    runtime: str
    precision: str
    """"auto": what the CPU was made for."""
    weights: str
    sha256: str
    cache: str
    threads: int
    parallel: int
    """Inferences that run side by side."""
    slots: int
    min_side: int
    """Of the network's input, px; equal to ``max_side`` where the network takes one size only."""
    max_side: int
    max_pixels: int
    graph: str = ""
    """With int8: the OpenVINO file of the quantised network."""
    endpoints: tuple[str, ...] = ()
    """With remote: the servers to ask. Their token is the first message on the socket."""
    endpoint_ca: str = ""
    timeout_s: float = 3.0
    """In which each frame has to be answered, here if need be."""

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> WorkerJob:
        job = cls(**json.loads(text))
        return replace(job, endpoints=tuple(job.endpoints))


class InferenceRequest(NamedTuple):
    slot: int
    height: int
    width: int
    live: bool = True
    """Of a stream, which will bring more of this size; else a single picture."""
    patient: bool = False
    """Of a file, or a single picture: better late than never."""

    def pack(self) -> bytes:
        return _REQUEST.pack(*self)

    @classmethod
    def unpack(cls, message: bytes) -> InferenceRequest:
        return cls(*_REQUEST.unpack(message))


class Reply(NamedTuple):
    kind: bytes
    slot: int
    text: str = ""

    def pack(self) -> bytes:
        return (_REPLY.pack(self.kind, self.slot) + self.text.encode())[:MESSAGE_BYTES]

    @classmethod
    def unpack(cls, message: bytes) -> Reply:
        kind, slot = _REPLY.unpack_from(message)
        return cls(kind, slot, message[_REPLY.size :].decode(errors="replace"))


class Slots:
    """Shared memory, cut into equal slots: the network's input, then its output."""

    def __init__(self, memfd: int, count: int, max_pixels: int) -> None:
        self._map = mmap.mmap(memfd, self.size_bytes(count, max_pixels))
        self._floats = np.frombuffer(self._map, np.float32)
        self._slot_floats = 4 * max_pixels
        self._input_floats = 3 * max_pixels

    @staticmethod
    def size_bytes(count: int, max_pixels: int) -> int:
        return count * 16 * max_pixels

    def input(self, slot: int, height: int, width: int) -> FloatImage:
        """(1, 3, h, w) view."""
        start = slot * self._slot_floats
        return self._floats[start : start + 3 * height * width].reshape(1, 3, height, width)

    def output(self, slot: int, height: int, width: int) -> FloatImage:
        """(1, h, w) view."""
        start = slot * self._slot_floats + self._input_floats
        return self._floats[start : start + height * width].reshape(1, height, width)
