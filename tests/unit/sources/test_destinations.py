"""Where a camera may lead us, by addresses."""

from __future__ import annotations

import pytest

from streamd.errors import SourceRejected
from streamd.sources.destinations import Destinations, Network, network_of

KINDS = {
    Network.LOOPBACK: ["127.0.0.1", "127.8.9.1", "::1", "0.0.0.0", "::", "::ffff:127.0.0.1", "::127.0.0.1"],
    Network.LINK_LOCAL: ["169.254.169.254", "fe80::1", "fe80::1%lo", "::ffff:169.254.1.1", "64:ff9b::169.254.169.254"],
    Network.PRIVATE: ["10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "fd00::1", "::ffff:10.0.0.1"],
    Network.PUBLIC: ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "2002:808:808::", "64:ff9b::8.8.8.8"],
    Network.SPECIAL: ["224.0.0.1", "239.1.1.1", "255.255.255.255", "240.0.0.1", "ff02::1", "0.1.2.3", "2001:0:1::"],
}  # fmt: skip


@pytest.mark.parametrize(("ip", "kind"), [(ip, kind) for kind, ips in KINDS.items() for ip in ips])
def test_the_network_of_an_address(ip: str, kind: Network) -> None:
    assert network_of(ip) == kind


def may(configured: str, ip: str, port: int = 80) -> bool:
    destinations = Destinations("cam", "camera.lan", 80)
    destinations.permit_configured(configured, 80)
    try:
        destinations.permit(ip, port)
    except SourceRejected:
        return False
    return True


@pytest.mark.parametrize(
    ("configured", "permitted"),
    [
        ("127.0.0.1", {"127.0.0.1", "8.8.8.8"}),
        ("10.0.0.1", {"10.0.0.1", "192.168.1.1", "fd00::1", "100.64.0.1", "8.8.8.8"}),
        ("169.254.1.1", {"169.254.1.1", "10.0.0.1", "192.168.1.1", "fd00::1", "100.64.0.1", "8.8.8.8"}),
        ("8.8.8.8", {"8.8.8.8"}),
    ],
)
def test_who_may_lead_where(configured: str, permitted: set[str]) -> None:
    others = {"127.0.0.1", "127.0.0.2", "::1", "0.0.0.0", "169.254.1.1", "169.254.169.254", "fe80::1", "10.0.0.1"}
    others |= {"192.168.1.1", "fd00::1", "100.64.0.1", "8.8.8.8", "224.0.0.1", "255.255.255.255"}
    assert {ip for ip in others if may(configured, ip)} == permitted


def test_the_reason_names_the_address() -> None:
    with pytest.raises(
        SourceRejected, match=r"^cam: leads to 169\.254\.169\.254 port 80, a link-local address: refused"
    ):
        Destinations("cam", "h", 80).permit("169.254.169.254", 80)


def test_another_port_of_the_camera_itself() -> None:
    assert not may("127.0.0.1", "127.0.0.1", 8080), "another service of this machine"
    assert may("10.0.0.1", "10.0.0.1", 8080)
    assert may("169.254.1.1", "169.254.1.1", 8080)
    assert may("8.8.8.8", "8.8.8.8", 8080)


def test_the_configured_address_is_known_by_host_and_port() -> None:
    destinations = Destinations("cam", "Camera.lan", 80)
    assert destinations.is_configured("camera.LAN", 80)
    assert not destinations.is_configured("camera.lan", 81)
    assert not destinations.is_configured("other.lan", 80)
