"""Notices, such as NO SIGNAL: repeated while no frame comes."""

from __future__ import annotations

import time

from streamd.media.frames import Picture
from streamd.media.hub import Rendition
from streamd.render.notice import Notice, draw_notice
from streamd.render.views import WIDE_VIEWS, half_size, published_size

NOTICE_EVERY_S = 1.0
NOTICE_SIZE = (640, 360)
"""While no frame has shown the size of the source."""


class Notices:
    """Which notice to show, if any, and when it is due. ``current`` is set by any thread, all else is
    for the publish thread."""

    def __init__(self, max_height: int | None) -> None:
        self.current: Notice | None = None
        self._max_height = max_height
        self._published_at = 0.0

    def published(self) -> None:
        """To be called when a frame or a notice has been published."""
        self._published_at = time.monotonic()

    @property
    def due_in_s(self) -> float:
        """Until the current notice is to be published again; not above 0 when that is now."""
        return self._published_at + NOTICE_EVERY_S - time.monotonic()

    def draw(self, notice: Notice, rendition: Rendition, source_size: tuple[int, int] | None) -> Picture:
        """yuv420p of the size that the rendition's pictures have."""
        width, height = published_size(*source_size, self._max_height) if source_size else NOTICE_SIZE
        size = (2 * width if rendition.view in WIDE_VIEWS else width, height)
        return draw_notice(notice, *(half_size(*size) if rendition.is_half_size else size))
