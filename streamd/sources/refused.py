"""Sources that are not opened at all."""

from __future__ import annotations

import threading
from collections.abc import Generator

import av

from streamd.config.sections import StreamConfig
from streamd.errors import SourceRejected
from streamd.sources.base import Source


class RefusedSource(Source):
    def __init__(self, config: StreamConfig, stop: threading.Event, reason: str) -> None:
        super().__init__(config, stop)
        self._reason = reason

    def frames(self) -> Generator[av.VideoFrame]:
        raise SourceRejected(self.name, self._reason)
        yield  # makes it a generator
