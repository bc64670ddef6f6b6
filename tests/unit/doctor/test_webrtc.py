from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from streamd import cli, doctor
from streamd.config.sections import Config, WebRtcConfig
from streamd.doctor import webrtc
from streamd.doctor.finding import Check, Finding
from streamd.sinks.webrtc import addresses as module
from streamd.sinks.webrtc import advertise as advertising
from streamd.sinks.webrtc import probe
from streamd.sinks.webrtc.ports import NoPort
from tests.support.findings import SECRET, found, only, serving


class TestWebRtc:
    """The words; what happens on the wire is in tests/integration/test_ice.py."""

    @pytest.fixture(autouse=True)
    def addresses(self, monkeypatch: pytest.MonkeyPatch) -> None:
        owners = {"127.0.0.1": "lo", "192.0.2.2": "eth0", "2001:db8::2": "eth0"}
        monkeypatch.setattr(module, "interface_names", lambda: owners)

    @pytest.mark.parametrize(
        ("interfaces", "findings"),
        [
            ([], [("ok", "viewers are offered 192.0.2.2, 2001:db8::2, 127.0.0.1")]),
            (["eth0"], [("ok", "viewers are offered 192.0.2.2, 2001:db8::2, 127.0.0.1")]),
            (["lo"], [("warning", "viewers are offered 127.0.0.1")]),
            (
                ["eth7", "192.0.2.0/24"],
                [
                    ("problem", "webrtc.interfaces: no address of this box is on eth7"),
                    ("ok", "viewers are offered 192.0.2.2, 127.0.0.1"),
                ],
            ),
        ],
    )
    def test_what_is_offered(self, interfaces: list[str], findings: list[tuple[str, str]]) -> None:
        seen = found(webrtc.offered, webrtc={"interfaces": interfaces})
        assert [(each.status, each.found) for each in seen] == findings

    def test_loopback_is_not_for_others(self) -> None:
        server = {"listen": "0.0.0.0:8080", "allow_anonymous": True}
        assert only(webrtc.offered, server=server).found == "viewers are offered 192.0.2.2, 2001:db8::2"

    @pytest.mark.parametrize(
        ("ports", "advertise", "status", "text"),
        [
            ("8189", "203.0.113.5", "ok", "and 203.0.113.5 (advertised)"),
            ("auto", "203.0.113.5", "warning", "and 203.0.113.5 (advertised)"),
            ("8189", "home.example", "ok", "and 203.0.113.6 (advertised as home.example)"),
            ("8189", "none.example", "problem", "webrtc.advertise: none.example cannot be looked up"),
        ],
    )
    def test_what_is_advertised(
        self, monkeypatch: pytest.MonkeyPatch, ports: str, advertise: str, status: str, text: str
    ) -> None:
        monkeypatch.setattr(advertising, "resolve", lambda name: ["203.0.113.6"] if name == "home.example" else [])
        finding = found(webrtc.offered, webrtc={"udp_ports": ports, "advertise": [advertise]})[1]
        assert (finding.status, finding.found) == (status, text)

    def test_ports(self) -> None:
        lo = {"interfaces": ["lo"]}
        assert only(webrtc.udp_ports, webrtc=lo).found == "127.0.0.1: any port can be had"
        with socket.socket(type=socket.SOCK_DGRAM) as held:
            held.bind(("127.0.0.1", 0))
            port = held.getsockname()[1]
            single = only(webrtc.udp_ports, webrtc={**lo, "udp_ports": str(port)}, server={"listen": "127.0.0.1:9"})
            assert (single.status, single.found) == (
                "problem",
                f"127.0.0.1: port {port} cannot be had: address already in use",
            )
            first = min(port, 65534)
            few, some = found(webrtc.udp_ports, webrtc={**lo, "udp_ports": f"{first}-{first + 1}"})
            assert (few.status, few.found) == ("warning", "2 ports are for 2 viewers at once")
            assert some.found.startswith("127.0.0.1: ")
        assert only(webrtc.udp_ports, webrtc={**lo, "udp_ports": str(port)}).status == "ok"

    def test_a_port_that_streamd_holds(self) -> None:
        with socket.socket(type=socket.SOCK_DGRAM) as held, serving(b'{"status": "ok"}') as http:
            held.bind(("127.0.0.1", 0))
            settings = {"interfaces": ["lo"], "udp_ports": str(held.getsockname()[1])}
            finding = only(webrtc.udp_ports, webrtc=settings, server={"listen": f"127.0.0.1:{http}"})
        assert finding.status == "ok"
        assert "by the streamd that runs" in finding.found

    @pytest.mark.parametrize(
        ("kind", "failed", "status", "text"),
        [
            ("host", "", "ok", "192.0.2.2: a picture came after 0.5 s"),
            ("host", "ICE", "problem", "192.0.2.2: ICE: no check came through"),
            ("host", "DTLS", "problem", "192.0.2.2: ICE connects, DTLS does not"),
            ("host", "SRTP", "problem", "192.0.2.2: ICE and DTLS connect, no picture comes (SRTP)"),
            ("srflx", "ICE", "warning", "192.0.2.2 (from outside): ICE: no check came through"),
            ("relay", "ICE", "problem", "192.0.2.2 (by TURN): ICE: no check came through"),
        ],
    )
    def test_calls(
        self, monkeypatch: pytest.MonkeyPatch, kind: str, failed: probe.Step, status: str, text: str
    ) -> None:
        async def call(config: WebRtcConfig, *, loopback: bool) -> list[probe.Call]:
            return [probe.Call("192.0.2.2", kind, failed, 0.51)]

        monkeypatch.setattr(probe, "call", call)
        finding = only(webrtc.calls)
        assert (finding.status, finding.found) == (status, text)
        assert bool(finding.advice) is bool(failed)

    def test_calls_on_other_ports_and_none_at_all(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def call(config: WebRtcConfig, *, loopback: bool) -> list[probe.Call]:
            if config.udp_ports == "8189":
                raise NoPort(config.ports)
            return [probe.Call("192.0.2.2", "host", "", 0.51)]

        monkeypatch.setattr(probe, "call", call)
        finding = only(webrtc.calls, webrtc={"udp_ports": "8189"})
        assert (finding.status, finding.found) == ("ok", "192.0.2.2: a picture came after 0.5 s, on other ports")

        async def refuse(config: WebRtcConfig, *, loopback: bool) -> list[probe.Call]:
            raise NoPort(None)

        monkeypatch.setattr(probe, "call", refuse)
        finding = only(webrtc.calls)
        assert (finding.status, finding.found) == (
            "problem",
            "no call was made: no UDP socket for this viewer could be opened; try again",
        )

    def test_servers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def ask(url: str, username: str, credential: str) -> str:
            assert credential in ("", SECRET)
            if "away" in url:
                raise TimeoutError("no answer within 2 s")
            if "closed" in url:
                raise ConnectionRefusedError(111, "Connect call failed ('192.0.2.7', 3478)")
            if "unknown" in url:
                raise socket.gaierror(-2, "Name or service not known")
            return "203.0.113.5"

        monkeypatch.setattr(probe, "ask", ask)
        monkeypatch.setenv("TURN_PASSWORD", SECRET)
        known = {"username": "jo", "credential": "env:TURN_PASSWORD"}
        servers = [
            "stun:stun.example",
            "stun:away.example",
            "stun:unknown.example",
            "stuns:stun.example",
            {"urls": ["turn:turn.example", "turn:closed.example?transport=tcp"], **known},
            {"urls": ["turn:secretless.example"], "username": "jo", "credential": "env:NONE"},
        ]
        seen = found(webrtc.servers, webrtc={"ice_servers": servers})
        assert [(each.status, each.found) for each in seen] == [
            ("ok", "stun:stun.example: sees us at 203.0.113.5"),
            ("problem", "stun:away.example: no answer within 2 s"),
            ("problem", "stun:unknown.example: name or service not known"),
            ("warning", "stuns:stun.example: for viewers only: streamd has no use for this kind"),
            ("ok", "turn:turn.example: gives us 203.0.113.5"),
            ("problem", "turn:closed.example?transport=tcp: connection refused"),
            ("problem", "turn:secretless.example: the environment variable NONE with its credential is not set"),
        ]
        assert SECRET not in repr(seen)
        assert only(webrtc.servers).found == "no STUN or TURN server is configured, and none is used"

    def test_what_cannot_be_tested(self) -> None:
        assert "let UDP 50000-50099 through" in only(webrtc.outside, webrtc={"udp_ports": "50000-50099"}).advice
        assert "let UDP through" in only(webrtc.outside).advice

    @pytest.mark.usefixtures("logging_restored")
    def test_the_option_asks_for_these_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[tuple[Check, ...]] = []

        def examine(config: Config, checks: tuple[Check, ...] = doctor.CHECKS) -> Iterator[Finding]:
            asked.append(checks)
            return iter(())

        monkeypatch.setattr(doctor, "examine", examine)
        assert [cli.main(["doctor"]), cli.main(["doctor", "--webrtc"])] == [0, 0]
        assert asked == [doctor.CHECKS, doctor.WEBRTC]
