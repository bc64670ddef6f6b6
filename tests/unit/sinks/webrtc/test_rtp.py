from __future__ import annotations

import asyncio

import pytest
from aiortc import RTCCertificate, RTCDtlsTransport, RTCIceGatherer, RTCIceTransport, RTCRtpSender
from aiortc.rtp import RTCP_RTPFB_NACK, RtcpRtpfbPacket

from streamd.sinks.webrtc import rtp
from streamd.sinks.webrtc.rtp import MAX_RETRANSMITS_PER_S, hook_sender, limited_retransmission


def sender() -> RTCRtpSender:
    transport = RTCIceTransport(RTCIceGatherer(iceServers=[]))
    return RTCRtpSender("video", RTCDtlsTransport(transport, [RTCCertificate.generateCertificate()]))


def test_retransmissions_of_a_second_are_bounded() -> None:
    now, sent = [10.0], []

    async def retransmit(sequence_number: int) -> None:
        sent.append(sequence_number)

    async def asked() -> None:
        limited = limited_retransmission(retransmit, clock=lambda: now[0])
        for number in range(3 * MAX_RETRANSMITS_PER_S):
            await limited(number)
        assert sent == list(range(MAX_RETRANSMITS_PER_S))
        now[0] += 1
        await limited(7)
        assert sent[-1] == 7

    asyncio.run(asked())


async def test_one_nack_that_asks_for_thousands_gets_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = []

    async def retransmit(_: object, sequence_number: int) -> None:
        sent.append(sequence_number)

    monkeypatch.setattr(RTCRtpSender, "_retransmit", retransmit)
    one = sender()
    assert hook_sender(one, lambda: None) is not None
    nack = RtcpRtpfbPacket(fmt=RTCP_RTPFB_NACK, ssrc=1, media_ssrc=one._ssrc, lost=[5] * 6000)
    await one._handle_rtcp_packet(nack)
    assert 0 < len(sent) <= 2 * MAX_RETRANSMITS_PER_S, "at most of two seconds"


async def test_a_picture_loss_asks_for_a_keyframe() -> None:
    one, asked = sender(), []
    hook_sender(one, lambda: asked.append("pli"))
    one._send_keyframe()
    assert asked == ["pli"]


async def test_a_sender_without_the_private_parts_is_left_as_it_is() -> None:
    class Bare:
        """As a release might have it."""

    bare = Bare()
    assert hook_sender(bare, lambda: None) is None  # type: ignore[arg-type]
    assert vars(bare) == {}


def test_vp8_is_split_as_rfc_7741_has_it() -> None:
    data = bytes(3000)
    payloads = rtp._vp8_payloads(data)
    assert [payload[0] & 0x10 for payload in payloads] == [0x10, 0, 0], "the first begins the partition"
    assert b"".join(payload[1:] for payload in payloads) == data
    assert max(map(len, payloads)) == rtp.PAYLOAD_BYTES
