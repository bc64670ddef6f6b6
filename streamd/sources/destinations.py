"""Where a camera may lead streamd: by redirects, and by the addresses in its playlists.

A camera is not trusted. Without these rules it could make streamd fetch from whatever this machine can reach, such as
services on loopback or the metadata of a cloud.
"""

from __future__ import annotations

import ipaddress
from enum import StrEnum

from streamd.errors import SourceRejected

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_IPV4_COMPATIBLE = ipaddress.IPv6Network("::/96")
_THIS_NETWORK = ipaddress.IPv4Network("0.0.0.0/8")
_CARRIER = ipaddress.IPv4Network("100.64.0.0/10")


class Network(StrEnum):
    LOOPBACK = "loopback"
    LINK_LOCAL = "link-local"
    PRIVATE = "private"
    PUBLIC = "public"
    SPECIAL = "special"
    """Multicast, broadcast, reserved: no server has such an address."""


def network_of(text: str) -> Network:
    """Of an address as the resolver gives it. One in which an IPv4 address is embedded counts as that."""
    address = _unwrapped(ipaddress.ip_address(text))
    if address.is_loopback or address.is_unspecified:  # 0.0.0.0 is this machine too
        return Network.LOOPBACK
    if address.is_link_local:
        return Network.LINK_LOCAL
    if address.is_multicast or address.is_reserved or address in _THIS_NETWORK:
        return Network.SPECIAL
    if address.is_private or address in _CARRIER:
        return Network.PRIVATE
    return Network.PUBLIC if address.is_global else Network.SPECIAL


def _unwrapped(address: IpAddress) -> IpAddress:
    if isinstance(address, ipaddress.IPv4Address):
        return address
    embedded = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
    if embedded is None and address in _NAT64:
        embedded = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if embedded is None and address in _IPV4_COMPATIBLE and int(address) > 1:
        embedded = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return embedded or address


class Destinations:
    """The addresses to which the source at ``host`` may lead. One thread's."""

    def __init__(self, name: str, host: str, port: int) -> None:
        """``name`` is for the error."""
        self._name = name
        self._host, self._port = host.lower(), port
        self._own: set[str] = set()
        """What the configured host was found to be."""

    def is_configured(self, host: str, port: int) -> bool:
        return (host.lower(), port) == (self._host, self._port)

    def permit_configured(self, ip: str, port: int) -> None:
        """Wherever it is: a person configured it."""
        self._own.add(ip)

    def permit(self, ip: str, port: int) -> None:
        """Raises SourceRejected: loopback only at the configured port, link-local only itself, a private network only
        from a private or link-local address, and all that is public."""
        own, kind = ip in self._own, network_of(ip)
        if kind is Network.LOOPBACK:
            permitted = own and port == self._port
        elif kind is Network.LINK_LOCAL:
            permitted = own
        elif kind is Network.PRIVATE:
            permitted = own or any(network_of(each) in (Network.PRIVATE, Network.LINK_LOCAL) for each in self._own)
        else:
            permitted = kind is Network.PUBLIC
        if not permitted:
            reason = f"leads to {ip} port {port}, a {kind} address: refused, for a camera may not choose it"
            raise SourceRejected(self._name, reason)
