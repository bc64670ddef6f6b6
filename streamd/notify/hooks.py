"""Tells commands and webhooks of zones, and of streams that come and go."""

from __future__ import annotations

import asyncio

from streamd.config.outgoing import HooksConfig
from streamd.notify.command import Commands
from streamd.notify.webhook import Webhook
from streamd.states import StreamState
from streamd.streams.events import Event, StreamEvent
from streamd.streams.fleet import Change, Fleet
from streamd.streams.stream import Stream

_AWAY = (StreamState.RECONNECTING, StreamState.FAILED, StreamState.ENDED)


class Hooks:
    """Lives on the event loop. Nothing here waits."""

    def __init__(self, config: HooksConfig, streams: Fleet) -> None:
        """Raises ConfigError."""
        self._streams = streams
        self._up: dict[str, bool] = {}
        """Streams that were told to run, or to be away."""
        self._targets: list[Commands | Webhook] = []
        if config.webhook:
            self._targets.append(Webhook(config))
        if config.command:
            self._targets.append(Commands(config.command))

    def start(self) -> None:
        for target in self._targets:
            target.start()
        if self._targets:
            self._streams.watchers.add(self._changed)
            self._streams.zone_watchers.add(self._tell)

    async def close(self) -> None:
        self._streams.watchers.discard(self._changed)
        self._streams.zone_watchers.discard(self._tell)
        await asyncio.gather(*(target.close() for target in self._targets))

    def _changed(self, stream: Stream, change: Change) -> None:
        if change == "removed":
            self._up.pop(stream.name, None)
        elif stream.state is StreamState.RUNNING:
            self._note(stream, True)
        elif stream.state in _AWAY:
            self._note(stream, False)

    def _note(self, stream: Stream, is_up: bool) -> None:
        if self._up.get(stream.name) is not is_up:
            self._up[stream.name] = is_up
            self._tell(StreamEvent(stream.name, "running" if is_up else "away", stream.state, stream.reason))

    def _tell(self, event: Event) -> None:
        for target in self._targets:
            target.tell(event)
