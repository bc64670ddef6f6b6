"""What is recorded of a stream: a recorder per view, each of which may fail without harm to the rest."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from functools import partial

from streamd.config import RecordingConfig, View
from streamd.errors import SinkError
from streamd.hub import PacketHub
from streamd.metrics import StreamMetrics
from streamd.sinks.record import Recorder, RecordingRules

log = logging.getLogger(__name__)


class Recordings:
    """Lives on the event loop."""

    def __init__(
        self, stream: str, config: RecordingConfig, hubs: Mapping[View, PacketHub], metrics: StreamMetrics
    ) -> None:
        self._stream = stream
        self._config = config
        self._hubs = hubs
        self._metrics = metrics
        self._recorders: list[Recorder] = []

    def __len__(self) -> int:
        """How many views are being recorded."""
        return len(self._recorders)

    def start(self, views: Iterable[View]) -> None:
        """Does nothing without a directory to record to."""
        directory = self._config.directory
        if directory is None:
            return
        rules = RecordingRules(directory, self._config.segment_seconds, self._config.min_free_gb * 1e9)
        for view in views:
            recorder = Recorder(
                self._hubs[view],
                stream=self._stream,
                view=view,
                rules=rules,
                on_bytes=self._metrics.recorded_bytes.inc,
                on_overflow=lambda: self._metrics.skipped("disk"),
            )
            self._recorders.append(recorder)
            asyncio.wrap_future(recorder.finished).add_done_callback(partial(self._ended, recorder))

    def _ended(self, recorder: Recorder, finished: asyncio.Future[None]) -> None:
        """A sink's failure ends that sink only."""
        recorder.close()
        if recorder in self._recorders:
            self._recorders.remove(recorder)
        failure = finished.exception()
        if isinstance(failure, SinkError):
            log.error("stream %s: %s", self._stream, failure)
        elif failure is not None:
            log.error("stream %s: recorder failed", self._stream, exc_info=failure)

    async def stop(self) -> None:
        """Returns when all files are complete."""
        recorders, self._recorders = self._recorders, []
        for recorder in recorders:
            recorder.close()
        if recorders:
            await asyncio.wait([asyncio.wrap_future(recorder.finished) for recorder in recorders])
