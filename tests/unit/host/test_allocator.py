from __future__ import annotations

import gc
import weakref

from streamd.host import allocator


class Knot:
    """Refers to itself."""

    def __init__(self) -> None:
        self.itself = self


def test_what_refers_to_itself_is_freed() -> None:
    gc.disable()
    try:
        knot = weakref.ref(Knot())
        assert knot() is not None
        allocator.release_memory()
        assert knot() is None
    finally:
        gc.enable()
