"""RTP and RTCP of one reader (RFC 3550). The payloads are split once for all viewers, by WebRTC and here."""

from __future__ import annotations

import secrets
import struct
import time

from streamd.media.frames import CLOCK_RATE, EncodedPacket
from streamd.sinks.webrtc.rtp import NTP_EPOCH_S, rtp_payloads

PAYLOAD_TYPE = 96
REPORT_EVERY_S = 5.0
_VERSION = 0x80
_MARKER = 0x80
_SENDER_REPORT, _DESCRIPTION, _BYE = 200, 202, 203
_CNAME = b"streamd"


class RtpStream:
    """Numbers the packets of one reader, and reports on them."""

    def __init__(self) -> None:
        self.ssrc = secrets.randbits(32)
        self.sequence = secrets.randbits(16)
        """Of the next packet."""
        self._offset = secrets.randbits(32)
        self._packets = self._bytes = 0
        self._next_report_s = 0.0

    def units(self, packet: EncodedPacket) -> list[tuple[bytes, bytes]]:
        """Header and payload of each RTP packet of a picture."""
        payloads, pts = rtp_payloads(packet)
        stamp, last = (pts + self._offset) & 0xFFFFFFFF, len(payloads) - 1
        units = []
        for number, payload in enumerate(payloads):
            kind = PAYLOAD_TYPE | (_MARKER if number == last else 0)
            units.append((struct.pack("!BBHII", _VERSION, kind, self.sequence, stamp, self.ssrc), payload))
            self.sequence = (self.sequence + 1) & 0xFFFF
            self._bytes += len(payload)
        self._packets += len(payloads)
        return units

    def report(self, packet: EncodedPacket) -> bytes | None:
        """A sender report after this one, when it is time for one: which RTP time it is now."""
        now = time.monotonic()
        if now < self._next_report_s:
            return None
        self._next_report_s = now + REPORT_EVERY_S
        ntp = round((time.time() + NTP_EPOCH_S) * 2**32) & 0xFFFFFFFFFFFFFFFF
        stamp = packet.pts + self._offset + round((now - packet.captured_at) * CLOCK_RATE)
        counts = struct.pack("!III", stamp & 0xFFFFFFFF, self._packets & 0xFFFFFFFF, self._bytes & 0xFFFFFFFF)
        report = struct.pack("!BBHIQ", _VERSION, _SENDER_REPORT, 6, self.ssrc, ntp) + counts
        return report + self._description()

    def bye(self) -> bytes:
        """An empty report, as each compound packet has to begin with one, and the end."""
        empty = struct.pack("!BBHI", _VERSION, 201, 1, self.ssrc)
        return empty + self._description() + struct.pack("!BBHI", _VERSION | 1, _BYE, 1, self.ssrc)

    def _description(self) -> bytes:
        item = struct.pack("!IBB", self.ssrc, 1, len(_CNAME)) + _CNAME
        item += bytes(4 - len(item) % 4)  # at least one zero ends the list
        return struct.pack("!BBH", _VERSION | 1, _DESCRIPTION, len(item) // 4) + item
