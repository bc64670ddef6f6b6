"""What is pushed, and what its side is told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from streamd.media.frames import Codec
from streamd.media.hub import Subscription

CONNECT_S = 10.0
"""From the first packet to a server until it takes the stream."""
SILENT_S = 10.0
"""A server that says nothing, or takes nothing, for this long is left."""
GOODBYE_S = 0.5
"""At the end, for a server to hear of it."""


@dataclass(frozen=True)
class Feed:
    """Event loop only."""

    title: str
    subscribe: Callable[[Codec], Subscription]
    """A seat at the hub of the view, which who takes it gives back. Raises StreamGone."""
    on_up: Callable[[], None]
    """The server takes the stream."""
