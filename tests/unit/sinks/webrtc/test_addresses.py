from __future__ import annotations

import pytest

from streamd.sinks.webrtc import addresses
from streamd.sinks.webrtc.addresses import host_addresses, unmatched

OWNERS = {
    "127.0.0.1": "lo",
    "::1": "lo",
    "192.0.2.2": "eth0",
    "2001:db8::2": "eth0",
    "172.17.0.1": "docker0",
}
EVERY = ["192.0.2.2", "2001:db8::2", "172.17.0.1"]


@pytest.fixture(autouse=True)
def box(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "interface_names", lambda: OWNERS)


@pytest.mark.parametrize(
    ("interfaces", "loopback", "offered"),
    [
        ((), False, EVERY),
        ((), True, [*EVERY, "127.0.0.1"]),
        (("eth0",), False, ["192.0.2.2", "2001:db8::2"]),
        (("192.0.2.0/24", "docker0"), False, ["192.0.2.2", "172.17.0.1"]),
        (("2001:db8::/32",), True, ["2001:db8::2", "127.0.0.1"]),
        (("172.17.0.1",), False, ["172.17.0.1"]),
        (("lo",), True, ["127.0.0.1", "::1"]),
        (("eth7",), False, ["127.0.0.1"]),
    ],
)
def test_what_is_offered(interfaces: tuple[str, ...], loopback: bool, offered: list[str]) -> None:
    assert host_addresses(interfaces, loopback=loopback) == offered


def test_a_box_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(addresses, "interface_names", lambda: {"127.0.0.1": "lo"})
    assert host_addresses() == ["127.0.0.1"]


def test_interfaces_that_are_not_there() -> None:
    assert unmatched(("eth0", "eth7", "10.0.0.0/8", "127.0.0.0/8")) == ["eth7", "10.0.0.0/8"]


def test_the_addresses_of_this_box(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    found = addresses.interface_names()
    assert "127.0.0.1" in found
    assert not [address for address in found if address.startswith("fe80")]
