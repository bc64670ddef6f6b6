"""The addresses of this box that viewers are offered."""

from __future__ import annotations

import ipaddress
import logging
from collections.abc import Sequence

import ifaddr

from streamd.telemetry.logs import warn_once

log = logging.getLogger(__name__)

LOOPBACK = ("127.0.0.1", "::1")


def host_addresses(interfaces: Sequence[str] = (), *, loopback: bool = False) -> list[str]:
    """Those on ``interfaces`` (names, addresses or networks), or on all when none is named.

    127.0.0.1 is added on request, and when there is nothing else: else nobody on a box without a network could
    watch. Link-local IPv6 never: no browser knows on which of its interfaces such an address is.
    """
    owners = interface_names()
    addresses = [address for address in owners if address not in LOOPBACK]
    if interfaces:
        addresses = matching([*addresses, *(own for own in LOOPBACK if own in owners)], interfaces)
        if not addresses:
            warn_once(log, f"no address of this box is on webrtc.interfaces = {list(interfaces)}")
    if "127.0.0.1" not in addresses and (loopback or not addresses):
        return [*addresses, "127.0.0.1"]
    return addresses


def matching(addresses: Sequence[str], interfaces: Sequence[str]) -> list[str]:
    """Those on an interface of one of these names, or in one of these networks."""
    networks, names = [], set()
    for each in interfaces:
        try:
            networks.append(ipaddress.ip_network(each, strict=False))
        except ValueError:
            names.add(each)
    owners = interface_names() if names else {}
    return [
        address
        for address in addresses
        if owners.get(address) in names or any(ipaddress.ip_address(address) in network for network in networks)
    ]


def unmatched(interfaces: Sequence[str]) -> list[str]:
    """Those that no address of this box is on."""
    addresses = list(interface_names())
    return [each for each in interfaces if not matching(addresses, (each,))]


def interface_names() -> dict[str, str]:
    """The interface of each address of this box, without link-local IPv6."""
    found = {}
    for adapter in ifaddr.get_adapters():
        for ip in adapter.ips:
            if isinstance(ip.ip, str):
                found[ip.ip] = adapter.name
            elif ip.ip[2] == 0:  # (address, flow, scope)
                found[ip.ip[0]] = adapter.name
    return found
