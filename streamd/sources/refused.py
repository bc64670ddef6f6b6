"""Sources that are not opened at all."""

from __future__ import annotations

import threading
from collections.abc import Generator

import av

from streamd.config.sections import StreamConfig
from streamd.errors import SourceRejected, SourceUnsupported
from streamd.sources.base import Source


class RefusedSource(Source):
    def __init__(self, config: StreamConfig, stop: threading.Event, reason: str) -> None:
        super().__init__(config, stop)
        self._reason = reason

    def frames(self) -> Generator[av.VideoFrame]:
        raise SourceRejected(self.name, self._reason)
        yield  # makes it a generator


class LackingSource(Source):
    """One that this installation cannot open: as a file that is no video, it is not tried again."""

    live = False

    def __init__(self, config: StreamConfig, stop: threading.Event, reason: str) -> None:
        super().__init__(config, stop)
        self._reason = reason

    def frames(self) -> Generator[av.VideoFrame]:
        raise SourceUnsupported(self.name, self._reason)
        yield
