"""What a session refuses before anything is open; the rest is in tests/integration/test_webrtc.py."""

from __future__ import annotations

import asyncio

import pytest

from streamd.config.sections import WebRtcConfig
from streamd.errors import OfferRejected
from streamd.media.hub import PacketHub
from streamd.sinks.webrtc.ice import Connectivity
from streamd.sinks.webrtc.session import Session


@pytest.fixture
async def session() -> Session:
    config = WebRtcConfig()
    return Session("porch", "depth", config, Connectivity(config))


def hubs(codec: str, light: bool) -> PacketHub:
    raise AssertionError("nobody subscribes")


@pytest.mark.parametrize("offer", ["", "v=0", "v=0\r\nm=video\r\na=fingerprint:sha-256 AA\r\n"])
async def test_a_bad_offer_is_refused_and_leaves_nothing(session: Session, offer: str) -> None:
    with pytest.raises(OfferRejected) as refused:
        await session.negotiate(offer, hubs, lambda count: None)
    assert refused.value.code == "bad_offer"
    await session.discard()


async def test_candidates_before_an_answer_are_refused(session: Session) -> None:
    with pytest.raises(OfferRejected):
        await session.trickle("a=candidate:1 1 udp 1 192.0.2.1 9 typ host")
    await session.discard()


async def test_the_first_reason_to_end_counts(session: Session) -> None:
    session.end("first")
    session.end("second")
    assert await session.over == "first"
    assert session.last_packet_at is None
    assert not session.connected
    await session.discard()
    await asyncio.sleep(0)
