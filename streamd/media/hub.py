"""Encode once, fan out: the same packets to every viewer, recorder and push.

Everything here runs in the event loop's thread, so there are no locks; the publish thread enters
through ``PacketHub.publish_threadsafe``, one hop per packet however many sinks there are.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import NamedTuple, Protocol, get_args

from streamd.config.sections import VIEWS, View
from streamd.errors import StreamGone
from streamd.media.frames import Codec, EncodedPacket
from streamd.states import KeyframeReason
from streamd.telemetry.statistics import ByteRate

QUEUE_PACKETS = 30


class Rendition(NamedTuple):
    """The output of one encoder, made once for all its subscribers."""

    view: View
    codec: Codec = "h264"
    light: bool = False
    """Half the size at a quarter of the rate, for viewers on a bad link."""
    half: bool = False
    """Half the size at full quality, for viewers who enlarge it: of views that hold no more detail."""

    @property
    def is_half_size(self) -> bool:
        return self.light or self.half


DEPTH_VIEWS: tuple[View, ...] = ("depth", "gray")
"""Those that show nothing of the picture, so hold no more than the depth map: live viewers get half their size."""
RENDITIONS = (
    *(Rendition(view, codec, light) for view in VIEWS for codec in get_args(Codec) for light in (False, True)),
    *(Rendition(view, codec, half=True) for view in DEPTH_VIEWS for codec in get_args(Codec)),
)


class Subscriber(Protocol):
    """What a hub sends packets to."""

    def push(self, packet: EncodedPacket) -> None:
        """Take a packet or drop it; never block, never raise."""

    def close(self) -> None:
        """Nothing more will come. Leaves the hub; safe to repeat."""


class PacketHub:
    """The packets of one rendition of one stream."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        request_keyframe: Callable[[KeyframeReason], None],
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        """``on_change`` is called on the loop when someone has joined or left."""
        self._loop = loop
        self._on_change = on_change
        self._subscribers: set[Subscriber] = set()
        self._closed = False
        self.request_keyframe = request_keyframe
        """Any thread; takes the reason: join, pli, overflow."""
        self.size: tuple[int, int] | None = None
        """(width, height) of the newest packet, px."""
        self._sent = ByteRate()
        self._keyframe: EncodedPacket | None = None
        """The newest packet, if it is one, and the subscribers have got it."""

    @property
    def bits_per_second(self) -> float:
        """Of the last moments."""
        return 8 * self._sent.per_second()

    @property
    def watched(self) -> bool:
        """Whether anyone subscribes. Any thread."""
        return bool(self._subscribers)

    def __len__(self) -> int:
        return len(self._subscribers)

    def join(self, subscriber: Subscriber, *, is_new: bool = False) -> None:
        """``is_new``: it has had no packets of another hub. It begins with the newest if that is a keyframe: of a still
        scene there is one for all who come at once. Raises StreamGone after ``close``."""
        if self._closed:
            raise StreamGone
        self._subscribers.add(subscriber)
        if is_new and self._keyframe is not None:
            subscriber.push(self._keyframe)
        else:
            self.request_keyframe(KeyframeReason.JOIN)
        self._on_change()

    def leave(self, subscriber: Subscriber) -> None:
        """Safe to repeat."""
        self._subscribers.discard(subscriber)
        if not self._subscribers:
            self._keyframe = None
        self._on_change()

    def forget_keyframe(self) -> None:
        """Who joins from now on begins with a picture that is still to come."""
        self._keyframe = None

    def close(self) -> None:
        """The stream has gone: closes all subscribers, and none can join any more."""
        self._closed = True
        for subscriber in tuple(self._subscribers):
            subscriber.close()

    def publish_threadsafe(self, packets: list[EncodedPacket]) -> None:
        """Any thread. After the loop has closed, packets go nowhere."""
        try:
            self._loop.call_soon_threadsafe(self._publish, packets)
        except RuntimeError:
            if not self._loop.is_closed():
                raise

    def _publish(self, packets: list[EncodedPacket]) -> None:
        for packet in packets:
            self.size = packet.size
            self._sent.add(len(packet.data))
            self._keyframe = packet if packet.is_keyframe and self._subscribers else None
            for subscriber in tuple(self._subscribers):
                subscriber.push(packet)


class Subscription:
    """A bounded queue at the hub for one asynchronous consumer.

    Starts at a keyframe; when it overflows, all that waits is dropped and it goes on at the next
    keyframe: a decoder cannot use a stream with holes.
    """

    def __init__(self, hub: PacketHub, *, capacity: int = QUEUE_PACKETS, on_drop: Callable[[int], None]) -> None:
        self.hub = hub
        self._capacity = capacity
        self._on_drop = on_drop
        self._queue: deque[EncodedPacket] = deque()
        self._ready = asyncio.Event()
        self._needs_keyframe = True
        self._overflowed = False
        self._started = False
        self.closed = False
        hub.join(self, is_new=True)

    def push(self, packet: EncodedPacket) -> None:
        if self._needs_keyframe and not packet.is_keyframe:
            if self._overflowed:
                self._on_drop(1)
            return
        if packet.is_keyframe and not self._started:
            self._queue.clear()  # nobody reads yet (DTLS is under way): only the newest GOP is of use
        self._needs_keyframe = self._overflowed = False
        if len(self._queue) >= self._capacity:
            self._on_drop(len(self._queue))
            self._queue.clear()
            if not packet.is_keyframe:
                self._on_drop(1)
                self._needs_keyframe = self._overflowed = True
                if self._started:  # a viewer stuck in connecting must not ask for ever
                    self.hub.request_keyframe(KeyframeReason.OVERFLOW)
                return
        self._queue.append(packet)
        self._ready.set()

    async def get(self) -> EncodedPacket | None:
        """The next packet; None when closed."""
        if not self._started:
            self._started = True
            if self._needs_keyframe:  # the one asked for at joining overflowed meanwhile, or is still to come
                self.hub.request_keyframe(KeyframeReason.JOIN)
        while not self._queue:
            if self.closed:
                return None
            self._ready.clear()
            await self._ready.wait()
        return self._queue.popleft()

    def move(self, hub: PacketHub) -> None:
        """Goes on at another hub, from its next keyframe. What waits is still delivered. Closes when
        the stream has gone."""
        self.hub.leave(self)
        self.hub, self._needs_keyframe, self._overflowed = hub, True, False
        try:
            hub.join(self)
        except StreamGone:
            self.close()

    def close(self) -> None:
        """Safe to repeat."""
        self.closed = True
        self._queue.clear()
        self.hub.leave(self)
        self._ready.set()
