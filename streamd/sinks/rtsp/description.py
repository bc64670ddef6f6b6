"""What DESCRIBE answers: the video of a hub as SDP (RFC 8866), with its parameter sets (RFC 6184, 8.2.1)."""

from __future__ import annotations

import asyncio
import base64
from contextlib import suppress

from streamd.media.frames import EncodedPacket
from streamd.media.hub import PacketHub
from streamd.sinks.rtsp.rtp import PAYLOAD_TYPE

TRACK = "trackID=0"
WAIT_S = 5.0
"""For a keyframe: a stream on demand has to wake. Without one the parameter sets come with the pictures."""
_SPS, _PPS = 7, 8


class Preview:
    """A seat at a hub for one keyframe. Kept until the reader plays, it keeps a stream on demand awake."""

    def __init__(self, hub: PacketHub) -> None:
        """Raises StreamGone."""
        self._hub = hub
        self._keyframe: asyncio.Future[EncodedPacket | None] = asyncio.get_running_loop().create_future()
        hub.join(self)

    def push(self, packet: EncodedPacket) -> None:
        if packet.is_keyframe and not self._keyframe.done():
            self._keyframe.set_result(packet)

    async def keyframe(self) -> EncodedPacket | None:
        """None when none came in time, or the stream has gone."""
        with suppress(TimeoutError):
            async with asyncio.timeout(WAIT_S):
                return await asyncio.shield(self._keyframe)
        return None

    def close(self) -> None:
        """Safe to repeat."""
        self._hub.leave(self)
        if not self._keyframe.done():
            self._keyframe.set_result(None)


def sdp(title: str, host: str, keyframe: EncodedPacket | None) -> bytes:
    """``host`` is our own address, as the reader sees it."""
    version = "IP6" if ":" in host else "IP4"
    lines = [
        "v=0",
        f"o=- 0 0 IN {version} {host.partition('%')[0]}",
        f"s={title}",
        f"c=IN {version} {'::' if version == 'IP6' else '0.0.0.0'}",
        "t=0 0",
        "a=control:*",
        f"m=video 0 RTP/AVP {PAYLOAD_TYPE}",
        f"a=rtpmap:{PAYLOAD_TYPE} H264/90000",
        f"a=fmtp:{PAYLOAD_TYPE} packetization-mode=1{_parameters(keyframe)}",
        f"a=control:{TRACK}",
    ]
    return "".join(f"{line}\r\n" for line in lines).encode()


def _parameters(keyframe: EncodedPacket | None) -> str:
    if keyframe is None:
        return ""
    units = [unit.rstrip(b"\0") for unit in keyframe.data.split(b"\0\0\1")]
    found = {unit[0] & 31: unit for unit in units if len(unit) > 3}
    if _SPS not in found or _PPS not in found:
        return ""
    sets = ",".join(base64.b64encode(found[kind]).decode() for kind in (_SPS, _PPS))
    return f";profile-level-id={found[_SPS][1:4].hex().upper()};sprop-parameter-sets={sets}"
