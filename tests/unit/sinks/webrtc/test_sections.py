"""What an offer asks for is told in words that its sender can do something with."""

from __future__ import annotations

import pytest

from streamd.errors import OfferRejected
from streamd.sinks.webrtc.sections import SENDS, checked, no_codec

NO_VIDEO = "the offer has no video section that wants to receive"


def section(kind: str = "video", port: int = 9, payloads: str = "96", *lines: str) -> list[str]:
    return [f"m={kind} {port} UDP/TLS/RTP/SAVPF {payloads}", *lines]


def offer(*sections: list[str], session: tuple[str, ...] = ()) -> list[str]:
    return ["v=0", *session, *(line for lines in sections for line in lines)]


@pytest.mark.parametrize(
    "lines",
    [
        offer(),
        offer(section("audio")),
        offer(section("application", 9, "webrtc-datachannel")),
        offer(section("video", 0)),
        offer(section("video", 9, "96", "a=inactive")),
        offer(section("video", 9, "96", "a=sendonly")),
        offer(section(), session=("a=sendonly",)),
        offer(section("audio"), section("video", 0, "96", "a=recvonly")),
    ],
)
def test_no_video(lines: list[str]) -> None:
    with pytest.raises(OfferRejected) as refused:
        checked(lines)
    assert (refused.value.code, str(refused.value)) == ("bad_offer", NO_VIDEO)


@pytest.mark.parametrize("lines", [[], ["hello"], ["m=video 9 RTP/AVP 96"], ["v=9"]])
def test_no_sdp(lines: list[str]) -> None:
    with pytest.raises(OfferRejected, match=r"^not an SDP offer: it does not begin with v=0$"):
        checked(lines)


def test_a_section_of_something_else() -> None:
    with pytest.raises(OfferRejected, match=r"^a section is of audio, video or application, not: m=text 9 "):
        checked(offer(section(), section("text")))


@pytest.mark.parametrize(
    ("session", "lines", "direction"),
    [
        ((), (), "a=sendrecv"),
        (("a=recvonly",), (), "a=recvonly"),
        ((), ("a=recvonly",), "a=recvonly"),
        (("a=inactive",), ("a=sendrecv",), "a=sendrecv"),
    ],
)
def test_each_section_is_told_its_direction(session: tuple[str, ...], lines: tuple[str, ...], direction: str) -> None:
    left = checked(offer(section("video", 9, "96", *lines), session=session))
    assert left[left.index("m=video 9 UDP/TLS/RTP/SAVPF 96") :][1:] == [direction]


def test_a_bundled_section_has_no_port_of_its_own() -> None:
    assert checked(offer(section("audio"), section("video", 0, "96", "a=bundle-only", "a=recvonly")))


def test_parameters_of_no_codec_are_left_out() -> None:
    lines = section("video", 9, "96", "a=rtpmap:96 VP8/90000", "a=fmtp:96 x=1", "a=fmtp:97 x=1", "a=recvonly")
    assert checked(offer(lines)) == ["v=0", *(line for line in lines if line != "a=fmtp:97 x=1")]


@pytest.mark.parametrize(
    ("fmtp", "named"),
    [
        ("packetization-mode=1;profile-level-id=640c34", "Constrained High (640c34, packetization-mode 1)"),
        ("profile-level-id=64001F; packetization-mode=1", "High (64001F, packetization-mode 1)"),
        ("packetization-mode=1;profile-level-id=4d001f", "Main (4d001f, packetization-mode 1)"),
        ("packetization-mode=0;profile-level-id=42e01f", "Constrained Baseline (42e01f, packetization-mode 0)"),
        ("profile-level-id=42001f", "Baseline (42001f, packetization-mode 0)"),
        ("profile-level-id=4d801f", "Constrained Baseline (4d801f, packetization-mode 0)"),
        ("profile-level-id=f4001f", "High 4:4:4 Predictive (f4001f, packetization-mode 0)"),
        ("", "Baseline (42000a, packetization-mode 0)"),
        ("profile-level-id=zz\x07é;packetization-mode=x", "(zz??, packetization-mode x)"),
        ("profile-level-id=ff0000", "(ff0000, packetization-mode 0)"),
    ],
)
def test_profiles_of_h264(fmtp: str, named: str) -> None:
    lines = section("video", 9, "96", "a=rtpmap:96 H264/90000", f"a=fmtp:96 {fmtp}", "a=recvonly")
    error = no_codec(offer(lines))
    assert (error.code, str(error)) == ("no_codec", f"no codec in common: the offer has H.264 {named}; {SENDS}")


def test_other_codecs_in_their_order_without_their_helpers() -> None:
    names = {"98": "H265", "96": "AV1", "97": "rtx", "99": "red", "100": "ulpfec", "101": "VP9", "102": "VP9"}
    maps = [f"a=rtpmap:{payload} {name}/90000" for payload, name in sorted(names.items())]
    error = no_codec(offer(section("video", 9, " ".join(names), "a=recvonly", *maps)))
    assert str(error) == f"no codec in common: the offer has H265, AV1, VP9; {SENDS}"


def test_what_is_listed_is_bounded() -> None:
    maps = [f"a=rtpmap:{payload} {'x' * 900}{payload}/1" for payload in range(99)]
    payloads = " ".join(map(str, range(99)))
    assert len(str(no_codec(offer(section("video", 9, payloads, "a=recvonly", *maps))))) < 1000
    assert "the offer has none;" in str(no_codec(offer(section("video", 9, "34", "a=recvonly"))))
