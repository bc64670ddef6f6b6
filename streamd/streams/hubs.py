"""The hubs of a stream, one per rendition: they live as long as the stream, through all losses of its source."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from functools import partial

from streamd.config.sections import NOT_SHOWN, VIEWS, RecordedView
from streamd.errors import UsageError
from streamd.media.frames import Codec
from streamd.media.hub import DEPTH_VIEWS, RENDITIONS, PacketHub, Rendition
from streamd.states import KeyframeReason


class Hubs(Mapping[Rendition, PacketHub]):
    """Made and closed on the event loop."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        request_keyframe: Callable[[Rendition, KeyframeReason], None],
        on_change: Callable[[], None],
    ) -> None:
        """``request_keyframe`` is called from any thread; ``on_change`` on the loop, when someone joins or leaves."""
        self._hubs = {
            rendition: PacketHub(loop, partial(request_keyframe, rendition), on_change) for rendition in RENDITIONS
        }
        self.depth16 = PacketHub(loop, lambda reason: None, on_change)
        """Recorded only; its frames do not need each other."""

    def __getitem__(self, rendition: Rendition) -> PacketHub:
        return self._hubs[rendition]

    def __iter__(self) -> Iterator[Rendition]:
        return iter(self._hubs)

    def __len__(self) -> int:
        return len(self._hubs)

    def find(self, view: str, codec: Codec = "h264", *, light: bool = False, half: bool = False) -> PacketHub:
        """``half``: where there is such a rendition of the view. Raises UsageError for a view that does not exist."""
        if view == "depth16":
            raise UsageError(f"view {NOT_SHOWN}")
        if view not in VIEWS:
            raise UsageError(f"view {view}: unknown; there are: {', '.join(VIEWS)}")
        return self[Rendition(view, codec, light, half and not light and view in DEPTH_VIEWS)]

    def forget_keyframes(self) -> None:
        """The settings have changed: nobody gets a picture of before, a mask may cover what it shows."""
        for hub in self._all:
            hub.forget_keyframe()

    @property
    def recorded(self) -> dict[RecordedView, PacketHub]:
        """Each view in H.264 and in its full size, and depth16."""
        return {**{view: self[Rendition(view)] for view in VIEWS}, "depth16": self.depth16}

    @property
    def watched(self) -> bool:
        """Whether anyone subscribes to any."""
        return any(hub.watched for hub in self._all)

    @property
    def subscribers(self) -> int:
        return sum(map(len, self._all))

    @property
    def _all(self) -> tuple[PacketHub, ...]:
        return (*self.values(), self.depth16)

    def close(self) -> None:
        """The stream has gone: closes all subscribers, and none can join any more."""
        for hub in self._all:
            hub.close()
