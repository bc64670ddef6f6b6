"""How viewers reach this box: the addresses and ports that aioice offers them."""

from __future__ import annotations

from collections.abc import Callable

import aioice.ice

_system_addresses: Callable[..., list[str]] = getattr(aioice.ice, "get_host_addresses", lambda **_: [])


def tune(loopback: bool) -> None:
    """Sets what aioice has no option for, for the whole process; the newest sink wins.

    - Consent (RFC 7675): a viewer that vanished is noticed after 7 s, not 30.
    - Addresses: aioice never offers 127.0.0.1, so nobody on a box without a network could watch.
      Offered on request, and when there is nothing else.
    """

    def host_addresses(use_ipv4: bool, use_ipv6: bool) -> list[str]:
        addresses = _system_addresses(use_ipv4=use_ipv4, use_ipv6=use_ipv6)
        return [*addresses, "127.0.0.1"] if use_ipv4 and (loopback or not addresses) else addresses

    aioice.ice.CONSENT_FAILURES, aioice.ice.CONSENT_INTERVAL = 3, 2
    aioice.ice.get_host_addresses = host_addresses
