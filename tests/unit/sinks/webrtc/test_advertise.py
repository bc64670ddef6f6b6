"""Advertised addresses in an answer, and the names among them."""

from __future__ import annotations

import re
import socket

import pytest
from aiortc.sdp import SessionDescription, candidate_from_sdp

from streamd.sinks.webrtc import advertise as module
from streamd.sinks.webrtc.advertise import Advertised, advertise

HOST4 = "a=candidate:f1 1 udp 2130706431 192.0.2.2 50001 typ host"
OTHER4 = "a=candidate:f2 1 udp 2130706431 172.17.0.1 50002 typ host"
HOST6 = "a=candidate:f3 1 udp 2130706431 2001:db8::2 50003 typ host"
RELAY = "a=candidate:f4 1 udp 16777215 198.51.100.9 3478 typ relay raddr 192.0.2.2 rport 50001"


def sdp_of(*candidates: str, sections: int = 1) -> str:
    section = [
        "m=video 50001 UDP/TLS/RTP/SAVPF 97",
        "c=IN IP4 192.0.2.2",
        "a=mid:0",
        *candidates,
        "a=end-of-candidates",
    ]
    section += ["a=ice-ufrag:abcd"]
    return "\r\n".join(["v=0", "o=- 1 1 IN IP4 0.0.0.0", "s=-", "t=0 0", *section * sections]) + "\r\n"


def added(before: str, addresses: list[str]) -> list[tuple[str, int, str, int]]:
    """(address, port, related address, related port) of what is new, which is all that may be."""
    after = advertise(before, addresses)
    assert after.count("\r\n") == after.count("\n"), "lines end as those of SDP do"
    old, new = before.splitlines(), after.splitlines()
    fresh = [line for line in new if line not in old]
    assert [line for line in new if line in old] == old
    candidates = [candidate_from_sdp(line.removeprefix("a=candidate:")) for line in fresh]
    assert {(each.type, each.component, each.protocol) for each in candidates} <= {("srflx", 1, "udp")}
    assert len({each.priority for each in candidates}) == len({each.foundation for each in candidates}) == len(fresh)
    return [(each.ip, each.port, each.relatedAddress or "", each.relatedPort or 0) for each in candidates]


@pytest.mark.parametrize(
    ("candidates", "addresses", "expected"),
    [
        ([HOST4], [], []),
        ([HOST4], ["203.0.113.5"], [("203.0.113.5", 50001, "192.0.2.2", 50001)]),
        ([HOST4, HOST6], ["203.0.113.5"], [("203.0.113.5", 50001, "192.0.2.2", 50001)]),
        ([HOST4, HOST6], ["2001:db8::9"], [("2001:db8::9", 50003, "2001:db8::2", 50003)]),
        ([HOST4], ["2001:db8::9"], [("2001:db8::9", 50001, "192.0.2.2", 50001)]),
        ([HOST4], ["192.0.2.2"], []),
        ([HOST6], ["2001:DB8:0::2"], []),
        ([RELAY], ["203.0.113.5"], []),
        ([], ["203.0.113.5"], []),
        (
            [HOST4, OTHER4, RELAY],
            ["203.0.113.5"],
            [("203.0.113.5", 50001, "192.0.2.2", 50001), ("203.0.113.5", 50002, "172.17.0.1", 50002)],
        ),
        (
            [HOST4],
            ["203.0.113.5", "203.0.113.6", "203.0.113.5"],
            [("203.0.113.5", 50001, "192.0.2.2", 50001), ("203.0.113.6", 50001, "192.0.2.2", 50001)],
        ),
        (
            [HOST4, OTHER4.replace("50002", "50001")],
            ["203.0.113.5"],
            [("203.0.113.5", 50001, "192.0.2.2", 50001)],
        ),
    ],
)
def test_what_is_added(candidates: list[str], addresses: list[str], expected: list[tuple[str, int, str, int]]) -> None:
    assert added(sdp_of(*candidates), addresses) == expected


def test_below_the_host_candidates_and_before_the_end() -> None:
    lines = advertise(sdp_of(HOST4, RELAY), ["203.0.113.5"]).splitlines()
    kinds = [line.split()[7] if "candidate:" in line else line for line in lines if "candidate" in line]
    assert kinds == ["host", "srflx", "relay", "a=end-of-candidates"]


def test_each_section_that_has_candidates() -> None:
    answer = advertise(sdp_of(HOST4, sections=2) + "m=audio 9 X 0\r\na=mid:1\r\n", ["203.0.113.5"])
    assert [part.count("203.0.113.5") for part in re.split("(?=m=)", answer)] == [0, 1, 1, 0]


def test_aiortc_reads_it() -> None:
    parsed = SessionDescription.parse(advertise(sdp_of(HOST4), ["2001:db8::9", "203.0.113.5"]))
    assert [each.ip for each in parsed.media[0].ice_candidates] == ["192.0.2.2", "2001:db8::9", "203.0.113.5"]
    assert parsed.media[0].ice_candidates_complete


class TestNames:
    @pytest.fixture
    def answers(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
        answers: dict[str, list[str]] = {}

        def getaddrinfo(name: str, *_: object, **__: object) -> list[tuple[object, ...]]:
            if name not in answers:
                raise socket.gaierror(-2, "Name or service not known")
            return [(0, 0, 0, "", (ip, 0)) for ip in answers[name]]

        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        monkeypatch.setattr(module, "REFRESH_S", -1.0)
        return answers

    @staticmethod
    def settled(advertised: Advertised) -> list[str]:
        """What it says when the look-up that this question starts has ended."""
        advertised.addresses()
        assert advertised._worker is not None
        advertised._worker.join()
        found = advertised.addresses()
        advertised._worker.join()
        return found

    def test_addresses_need_no_look_up(self, answers: dict[str, list[str]]) -> None:
        advertised = Advertised(["203.0.113.5", "2001:db8::9"])
        assert advertised.addresses() == ["203.0.113.5", "2001:db8::9"]
        assert advertised._worker is None

    def test_a_name_that_moves_and_one_that_comes_late(self, answers: dict[str, list[str]]) -> None:
        answers["home"] = ["203.0.113.5", "203.0.113.5", "fe80::1%eth0"]
        advertised = Advertised(["late", "203.0.113.1", "home"])
        assert self.settled(advertised) == ["203.0.113.1", "203.0.113.5"]
        answers.update(home=["203.0.113.6"], late=["203.0.113.7"])
        assert self.settled(advertised) == ["203.0.113.7", "203.0.113.1", "203.0.113.6"]

    def test_what_was_known_stays_while_name_servers_are_away(
        self, answers: dict[str, list[str]], caplog: pytest.LogCaptureFixture
    ) -> None:
        answers["home"] = ["203.0.113.5"]
        advertised = Advertised(["home"])
        assert self.settled(advertised) == ["203.0.113.5"]
        answers.clear()
        assert self.settled(advertised) == ["203.0.113.5"]
        assert "webrtc.advertise: home cannot be looked up" in caplog.text
