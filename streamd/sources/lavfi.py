"""Test patterns made by an FFmpeg filter graph: ``lavfi:testsrc2=size=1280x720:rate=30``."""

from __future__ import annotations

from collections.abc import Generator

import av

from streamd.sources.base import Source


class LavfiSource(Source):
    live = False

    def frames(self) -> Generator[av.VideoFrame]:
        graph = self.address.path
        if self.config.realtime:
            graph += ",realtime"
        with self.opened(graph, format="lavfi") as container:
            yield from self.decoded(container)
