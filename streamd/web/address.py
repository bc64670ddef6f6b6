"""Which client an address stands for."""

from __future__ import annotations

import ipaddress


def client_network(address: str | None) -> str:
    """An address of IPv4, or the /64 of one of IPv6, whose owner has all of it. A socket file has no address."""
    try:
        known = ipaddress.ip_address((address or "").partition("%")[0])
    except ValueError:
        return "local"
    if isinstance(known, ipaddress.IPv6Address):
        return str(known.ipv4_mapped or ipaddress.ip_network((known, 64), strict=False))
    return str(known)
