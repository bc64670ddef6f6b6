"""What serving viewers takes of a stream."""

from __future__ import annotations

from typing import Protocol

from streamd.media.frames import Codec
from streamd.media.hub import PacketHub
from streamd.states import StreamState
from streamd.telemetry.metrics import StreamMetrics

NOT_RUNNING = (StreamState.ENDED, StreamState.FAILED, StreamState.STOPPING)
"""The other states have a picture, or will: NO SIGNAL while a source is away, and looking wakes an idle stream."""


class WatchableStream(Protocol):
    """What viewers are served from."""

    @property
    def name(self) -> str: ...

    @property
    def state(self) -> StreamState: ...

    @property
    def metrics(self) -> StreamMetrics: ...

    def hub(self, view: str, codec: Codec = "h264", *, light: bool = False) -> PacketHub:
        """Raises UsageError for a view that does not exist."""

    def live_hub(
        self, view: str, codec: Codec = "h264", *, light: bool = False, height: int | None = None
    ) -> PacketHub:
        """For those who look now; ``height``: that the viewer wants, px. Raises UsageError for a view that does not
        exist."""
