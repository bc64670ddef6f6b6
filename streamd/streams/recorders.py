"""What is recorded of a stream: a recorder per view, each of which may fail without harm to the rest."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from functools import partial

from streamd.config.sections import RecordingConfig, View
from streamd.errors import SinkError
from streamd.media.hub import PacketHub
from streamd.sinks.recording.recorder import Recorder, RecordingRules
from streamd.states import SkipReason
from streamd.telemetry.logs import StreamLog
from streamd.telemetry.metrics import StreamMetrics

log = logging.getLogger(__name__)


class Recordings:
    """Lives on the event loop."""

    def __init__(
        self, stream: str, config: RecordingConfig, hubs: Mapping[View, PacketHub], metrics: StreamMetrics
    ) -> None:
        self._stream = stream
        self._log = StreamLog(log, stream)
        self._config = config
        self._hubs = hubs
        self._metrics = metrics
        self._recorders: dict[View, Recorder] = {}
        self._ending: set[asyncio.Future[None]] = set()
        """Of all recorders: done when the last file is complete."""
        self.error: str | None = None
        """Why the last recorder that failed did; None again when recording is started."""

    def __len__(self) -> int:
        """How many views are being recorded."""
        return len(self._recorders)

    @property
    def views(self) -> list[View]:
        """That are being recorded."""
        return list(self._recorders)

    def start(self, views: Iterable[View]) -> None:
        """Those that are not recorded yet. Does nothing without a directory to record to."""
        directory = self._config.directory
        if directory is None:
            return
        self.error = None
        rules = RecordingRules(directory, self._config.segment_seconds, self._config.min_free_gb * 1e9)
        for view in views:
            if view not in self._recorders:
                self._start(view, rules)

    def _start(self, view: View, rules: RecordingRules) -> None:
        recorder = self._recorders[view] = Recorder(
            self._hubs[view],
            stream=self._stream,
            view=view,
            rules=rules,
            on_bytes=self._metrics.recorded_bytes.inc,
            on_overflow=lambda: self._metrics.skipped(SkipReason.DISK),
        )
        finished = asyncio.wrap_future(recorder.finished)
        self._ending.add(finished)
        finished.add_done_callback(partial(self._ended, view, recorder))

    def _ended(self, view: View, recorder: Recorder, finished: asyncio.Future[None]) -> None:
        """A sink's failure ends that sink only."""
        recorder.close()
        self._ending.discard(finished)
        if self._recorders.get(view) is recorder:
            del self._recorders[view]
        failure = None if finished.cancelled() else finished.exception()
        if failure is None:
            return
        if isinstance(failure, SinkError):
            self.error = str(failure)
            self._log.error("%s", failure)
        else:
            self.error = f"internal error: {failure}"
            self._log.error("recorder failed", exc_info=failure)

    async def stop(self) -> None:
        """Returns when all files are complete."""
        recorders, self._recorders = self._recorders, {}
        for recorder in recorders.values():
            recorder.close()
        if self._ending:
            await asyncio.wait(self._ending)
