"""From the packets of a hub to RTP: what an aiortc sender reads, and how it is made to leave them as they are."""

from __future__ import annotations

import functools
import time
from collections.abc import Awaitable, Callable
from typing import Any

import av
from aiortc import MediaStreamTrack, RTCRtpSender
from aiortc.codecs.h264 import H264Encoder
from aiortc.codecs.vpx import VpxPayloadDescriptor
from aiortc.mediastreams import MediaStreamError
from aiortc.rtcrtpparameters import RTCRtpHeaderExtensionParameters, RTCRtpParameters
from aiortc.rtp import HeaderExtensions, HeaderExtensionsMap

from streamd.media.frames import TIME_BASE, EncodedPacket
from streamd.media.hub import Subscription
from streamd.sinks.webrtc.privates import ENCODER, EXTENSIONS, negotiated_extensions

PLAYOUT_DELAY = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay"
ABS_CAPTURE_TIME = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time"
PAYLOAD_BYTES = 1300
"""aiortc's own limit: leaves room for headers within any path's MTU."""
MAX_RETRANSMITS_PER_S = 500
"""To one viewer: a third of the packets of 12 Mbit/s."""
NTP_EPOCH_S = 2_208_988_800
"""1900 to 1970."""

for number, uri in ((14, PLAYOUT_DELAY), (13, ABS_CAPTURE_TIME)):
    if all(extension.uri != uri for extension in negotiated_extensions()):
        negotiated_extensions().append(RTCRtpHeaderExtensionParameters(id=number, uri=uri))


class ViewerTrack(MediaStreamTrack):
    """What aiortc's sender reads. One per viewer: the sender stops it at the end."""

    kind = "video"

    def __init__(self, subscription: Subscription) -> None:
        super().__init__()
        self.subscription = subscription
        self.hooked = False
        """The sender takes our packets as they are."""

    async def recv(self) -> Any:
        """An EncodedPacket for our packer, else an ``av.Packet``."""
        packet = await self.subscription.get()
        if packet is None:
            raise MediaStreamError
        return packet if self.hooked else _public(packet)

    def stop(self) -> None:
        self.subscription.close()
        super().stop()


def _public(packet: EncodedPacket) -> av.Packet[Any]:
    """What aiortc takes in public. Refers to the same bytes."""
    public: av.Packet[Any] = av.Packet(packet.data)
    public.pts = public.dts = packet.pts
    public.time_base = TIME_BASE
    public.is_keyframe = packet.is_keyframe
    return public


class Packer:
    """Takes the place of a sender's encoder: what is encoded already is only split into RTP payloads."""

    def __init__(self, extensions: OurExtensions | None) -> None:
        self._extensions = extensions
        self.target_bitrate: int | None = None
        """Set by aiortc to what the receiver estimates (REMB), bits per second."""

    def pack(self, packet: EncodedPacket) -> tuple[list[bytes], int]:
        if self._extensions is not None:
            self._extensions.captured_at = packet.captured_at
        return rtp_payloads(packet)


@functools.lru_cache(maxsize=32)
def rtp_payloads(packet: EncodedPacket) -> tuple[list[bytes], int]:
    """Split once, not once per viewer: they all come for a packet at about the same time."""
    if packet.codec == "vp8":
        return _vp8_payloads(packet.data), packet.pts
    return H264Encoder().pack(_public(packet))


def _vp8_payloads(data: bytes) -> list[bytes]:
    """RFC 7741, without picture ids: viewers join anywhere, and sequence numbers show losses."""
    room = PAYLOAD_BYTES - 1
    return [
        bytes(VpxPayloadDescriptor(partition_start=int(start == 0), partition_id=0)) + data[start : start + room]
        for start in range(0, len(data), room)
    ]


class OurExtensions(HeaderExtensionsMap):
    """Adds two header extensions (RFC 8285) to those that aiortc knows.

    playout-delay on every packet: with 0/0 Chromium paints at once, not 40 ms later (measured).
    abs-capture-time on the first packet of each picture: from it the page knows the true latency.
    """

    def __init__(self, playout_delay_max_ms: int = 0) -> None:
        super().__init__()
        self.captured_at: float | None = None
        """Of the picture whose packets come next, ``time.monotonic()``."""
        self._playout_delay = (playout_delay_max_ms // 10).to_bytes(3, "big")  # 12 bits of min, 12 of max
        self._playout = b""
        self._capture_id = 0

    def configure(self, parameters: RTCRtpParameters) -> None:
        super().configure(parameters)
        for extension in parameters.headerExtensions:
            if not 0 < extension.id < 15:
                continue
            if extension.uri == PLAYOUT_DELAY:
                self._playout = bytes((extension.id << 4 | 2,)) + self._playout_delay
            elif extension.uri == ABS_CAPTURE_TIME:
                self._capture_id = extension.id

    def set(self, values: HeaderExtensions) -> tuple[int, bytes]:
        profile, value = super().set(values)
        ours = self._playout
        if self._capture_id and self.captured_at is not None:
            ours += bytes((self._capture_id << 4 | 7,)) + _ntp(self.captured_at) + b"\0\0\0"
        self.captured_at = None
        if ours and profile in (0, 0xBEDE):  # one-byte headers; all parts are padded to 4 bytes
            return 0xBEDE, value + ours
        return profile, value


def _ntp(monotonic_s: float) -> bytes:
    """UQ32.32 seconds since 1900, as abs-capture-time wants it."""
    unix_s = time.time() - time.monotonic() + monotonic_s
    return round((unix_s + NTP_EPOCH_S) * 2**32).to_bytes(8, "big")


def hook_sender(
    sender: RTCRtpSender, on_keyframe_request: Callable[[], None], *, playout_delay_max_ms: int = 0
) -> Packer | None:
    """Replaces private parts of a sender, as far as they are there (privates.py names their purpose).

    Returns the packer when the sender takes EncodedPackets.
    """
    attributes = vars(sender)
    extensions = None
    if hasattr(sender, "_send_keyframe"):
        attributes["_send_keyframe"] = on_keyframe_request
    if hasattr(sender, "_retransmit"):
        attributes["_retransmit"] = limited_retransmission(sender._retransmit)
    if EXTENSIONS in attributes:
        extensions = attributes[EXTENSIONS] = OurExtensions(playout_delay_max_ms)
    if ENCODER in attributes:
        packer = attributes[ENCODER] = Packer(extensions)
        return packer
    return None


def limited_retransmission(
    retransmit: Callable[[int], Awaitable[None]], clock: Callable[[], float] = time.monotonic
) -> Callable[[int], Awaitable[None]]:
    """At most MAX_RETRANSMITS_PER_S: one NACK (RFC 4585, 6.2.1) may ask for thousands of packets, over and over."""
    second, sent = 0, 0

    async def limited(sequence_number: int) -> None:
        nonlocal second, sent
        now = int(clock())
        if now != second:
            second, sent = now, 0
        sent += 1
        if sent <= MAX_RETRANSMITS_PER_S:
            await retransmit(sequence_number)

    return limited
