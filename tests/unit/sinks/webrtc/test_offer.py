from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.errors import OfferRejected
from streamd.sinks.webrtc.offer import MAX_CANDIDATES, MAX_LINES, MAX_LINES_OF_A_KIND, MAX_SECTIONS, Offer

HEAD = "v=0\r\na=fingerprint:sha-256 AA\r\na=ice-ufrag:abcd\r\n"
VIDEO = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\na=recvonly\r\n"


def candidate(address: str = "192.0.2.1", port: object = 5000, protocol: str = "udp", component: int = 1) -> str:
    return f"a=candidate:1 {component} {protocol} 1 {address} {port} typ host\r\n"


def test_what_is_left() -> None:
    assert Offer(HEAD + VIDEO + candidate() + "a=end-of-candidates\r\n").sdp == HEAD + VIDEO + candidate()


@pytest.mark.parametrize(
    "line",
    [
        candidate("5e7a2d3c-0000-4000-8000-000000000000.local"),
        candidate("5E7A2D3C.LOCAL"),
        candidate("attacker.example"),
        candidate("localhost"),
        candidate("fe80::1%eth0"),
        candidate("fe80::1%attacker.example"),
        candidate("224.0.0.1"),
        candidate("ff02::1"),
        candidate("0.0.0.0"),
        candidate("::"),
        candidate(port=0),
        candidate(port=65536),
        candidate(port=-1),
        candidate(port="9" * 5000),
        candidate(port="٣"),
        candidate(protocol="tcp"),
        candidate(component=2),
    ],
)
def test_candidates_that_nothing_can_or_should_be_sent_to_are_dropped(line: str) -> None:
    """One port too high closes the socket that all viewers share."""
    offer = Offer(HEAD + VIDEO + line + candidate())
    assert offer.sdp == HEAD + VIDEO + candidate()
    assert offer.candidates(line) == []


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1", "127.0.0.1"])
def test_candidates_of_honest_viewers_stay(address: str) -> None:
    (found,) = Offer(HEAD + VIDEO).candidates(f"a=ice-ufrag:abcd\r\na=mid:0\r\n{candidate(address)}")
    assert (found.ip, found.port, found.sdpMid) == (address, 5000, "0")


def test_hundred_thousand_candidates_are_bounded_with_those_that_come_later() -> None:
    many = "".join(candidate(port=1 + number % 65535) for number in range(100_000))
    offer = Offer(HEAD + VIDEO + many)
    assert offer.sdp.count("a=candidate") == MAX_CANDIDATES
    assert offer.candidates(many) == []


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ("a=x\r\n" * (MAX_LINES_OF_A_KIND + 1), f"more than {MAX_LINES_OF_A_KIND} lines of a=x in one section"),
        ("a=rtcp-fb:96 nack\r\n" * 300, f"more than {MAX_LINES_OF_A_KIND} lines of a=rtcp-fb in one section"),
        ("".join(f"a={number}\r\n" for number in range(MAX_LINES)), f"more than {MAX_LINES} lines"),
        (VIDEO * MAX_SECTIONS, f"more than {MAX_SECTIONS} media sections"),
    ],
)
def test_what_would_hold_the_loop_up_is_refused(more: str, reason: str) -> None:
    with pytest.raises(OfferRejected) as refused:
        Offer(HEAD + VIDEO + more)
    assert (refused.value.code, str(refused.value)) == ("bad_offer", reason)


def test_an_offer_without_encryption_is_refused() -> None:
    with pytest.raises(OfferRejected, match="encrypted media only"):
        Offer("v=0\r\n" + VIDEO)


def test_ice_restart_is_refused() -> None:
    with pytest.raises(OfferRejected) as refused:
        Offer(HEAD + VIDEO).candidates("a=ice-ufrag:other\r\n")
    assert refused.value.code == "no_ice_restart"


@pytest.mark.parametrize(
    "line", ["a=candidate:", "a=candidate:1 1 udp", "a=candidate:1 1 udp x 192.0.2.1 5000 typ host"]
)
def test_what_is_no_candidate_is_refused(line: str) -> None:
    with pytest.raises(OfferRejected, match="not a candidate"):
        Offer(HEAD + VIDEO).candidates(line)


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=300))
def test_no_text_is_an_error_of_ours(text: str) -> None:
    try:
        offer = Offer(HEAD + text)
        offer.candidates(text)
    except OfferRejected:
        pass
