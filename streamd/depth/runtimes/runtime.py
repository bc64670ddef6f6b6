"""What the worker wants of whatever runs a network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from streamd.media.frames import FloatImage

Done = Callable[[str | None], None]
"""Called once per request, from any thread: None, or what went wrong."""


class Runtime(Protocol):
    """A network in memory. Built by ``open_runtime(job)`` of streamd.depth.runtimes.NAME."""

    precision: str

    def is_compiled(self, height: int, width: int, *, live: bool) -> bool:
        """Whether this size runs at once, without compiling first."""
        ...

    def submit(
        self, slot: int, planes: FloatImage, depth: FloatImage, done: Done, *, live: bool, patient: bool = False
    ) -> None:
        """(1, 3, h, w) in, (1, h, w) out, both float32 and in place. Never two at a time per slot.
        ``live``, ``patient``: see ``InferenceRequest``."""
        ...
