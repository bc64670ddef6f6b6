"""How viewers reach this box: the addresses and ports that aioice offers them.

With ports.py and mux.py the place for all that aioice keeps private. Each touch is guarded: where a release
has moved a name, aioice goes on as it does by itself, and one warning says so.
"""

from __future__ import annotations

import functools
import inspect
import ipaddress
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import aioice.ice
import ifaddr
from aiortc import RTCConfiguration

from streamd.config.sections import WebRtcConfig
from streamd.sinks.webrtc.advertise import Advertised, advertise
from streamd.sinks.webrtc.mux import SinglePort
from streamd.sinks.webrtc.ports import NoPort, PortRange, Ports, complain, used
from streamd.sinks.webrtc.servers import Servers

GATHER_S = 2.0
"""For STUN and TURN servers to answer: four round trips over TLS to the other side of the world. aioice has 5 s."""

_system_addresses: Callable[..., list[str]] = getattr(aioice.ice, "get_host_addresses", lambda **_: [])
_interfaces: ContextVar[Sequence[str]] = ContextVar("interfaces", default=())
"""Whose addresses the session that gathers in this context offers; empty: of all."""


class Reach:
    """What ``[webrtc]`` says about it, for all sessions of one sink. Event loop only.

    A session uses ``configuration`` for its peer, gathers within ``gathering()``, and sends what ``answer`` gives.
    """

    def __init__(self, config: WebRtcConfig, *, loopback: bool = False) -> None:
        """Raises ConfigError when a secret is missing."""
        tune(loopback)
        self._config = config
        self._ports = _ports_of(config.ports)
        self._advertised = Advertised(config.advertise)
        self._servers = Servers(config)

    @property
    def configuration(self) -> RTCConfiguration:
        """For one peer: the STUN and TURN servers, without those that were silent a moment ago."""
        return self._servers.configuration()

    @property
    def links(self) -> list[str]:
        """Values of ``Link`` headers: the same servers for the viewers (WHEP draft-03, STUN/TURN configuration)."""
        return self._servers.links

    @contextmanager
    def gathering(self) -> Iterator[None]:
        """Around ``setLocalDescription``. OfferRejected comes through from mux.py."""
        with on(self._config.interfaces), used(self._ports):
            yield

    def answer(self, sdp: str) -> str:
        """The answer as the viewer gets it, with the advertised addresses. Raises NoPort."""
        if "a=candidate:" not in sdp:
            raise NoPort(self._config.ports)
        self._servers.heard(sdp)
        return advertise(sdp, self._advertised.addresses())


@contextmanager
def on(interfaces: Sequence[str]) -> Iterator[None]:
    """What aioice gathers inside is on these interfaces alone; empty: on all."""
    token = _interfaces.set(interfaces)
    try:
        yield
    finally:
        _interfaces.reset(token)


def _ports_of(ports: range | None) -> Ports | None:
    if ports is None:
        return None
    return SinglePort(ports[0]) if len(ports) == 1 else PortRange(ports)


def tune(loopback: bool) -> None:
    """Sets what aioice has no option for, for the whole process; the newest sink wins.

    - Consent (RFC 7675): a viewer that vanished is noticed after 7 s, not 30.
    - Addresses: aioice never offers 127.0.0.1, so nobody on a box without a network could watch.
      Offered on request, and when there is nothing else.
    - Servers that do not answer hold an answer up for GATHER_S.
    """
    if not hasattr(aioice.ice, "get_host_addresses") or not hasattr(aioice.ice, "CONSENT_FAILURES"):
        complain("aioice has changed: webrtc.interfaces, 127.0.0.1 and quick ends of dead viewers")
    aioice.ice.CONSENT_FAILURES, aioice.ice.CONSENT_INTERVAL = 3, 2
    aioice.ice.get_host_addresses = functools.partial(host_addresses, loopback=loopback)
    _hurry()


def host_addresses(use_ipv4: bool = True, use_ipv6: bool = True, *, loopback: bool = False) -> list[str]:
    """What is offered, link-local IPv6 never: no browser says on which of its interfaces they are."""
    addresses = _system_addresses(use_ipv4=use_ipv4, use_ipv6=use_ipv6)
    if wanted := _interfaces.get():
        versions = {4: use_ipv4, 6: use_ipv6}
        known = [*addresses, *(own for own in ("127.0.0.1", "::1") if own in _owners())]
        addresses = [each for each in chosen(known, wanted) if versions[ipaddress.ip_address(each).version]]
        if not addresses:
            complain(f"no address of this box is on webrtc.interfaces = {list(wanted)}")
    if use_ipv4 and "127.0.0.1" not in addresses and (loopback or not addresses):
        return [*addresses, "127.0.0.1"]
    return addresses


def chosen(addresses: Sequence[str], interfaces: Sequence[str]) -> list[str]:
    """Those on an interface of this name or in this network."""
    networks, names = [], set()
    for each in interfaces:
        try:
            networks.append(ipaddress.ip_network(each, strict=False))
        except ValueError:
            names.add(each)
    owners = _owners() if names else {}
    return [
        address
        for address in addresses
        if owners.get(address) in names or any(ipaddress.ip_address(address) in network for network in networks)
    ]


def unmatched(interfaces: Sequence[str]) -> list[str]:
    """Those that no address of this box is on."""
    addresses = list(_owners())
    return [each for each in interfaces if not chosen(addresses, (each,))]


def _owners() -> dict[str, str]:
    """The interface that has each address, 127.0.0.1 and ::1 among them."""
    return {
        ip.ip if isinstance(ip.ip, str) else ip.ip[0]: adapter.name
        for adapter in ifaddr.get_adapters()
        for ip in adapter.ips
    }


def _hurry() -> None:
    """Shortens aioice's wait for STUN and TURN servers. Safe to repeat."""
    gather = getattr(aioice.ice.Connection, "get_component_candidates", None)
    if hasattr(gather, "__wrapped__"):
        return
    if gather is None or "timeout" not in inspect.signature(gather).parameters:
        complain("aioice has changed: silent STUN and TURN servers hold viewers up for 5 s")
        return

    @functools.wraps(gather)
    async def get_component_candidates(*args: Any, **options: Any) -> Any:
        return await gather(*args, **{"timeout": GATHER_S, **options})

    aioice.ice.Connection.get_component_candidates = get_component_candidates  # type: ignore[method-assign]
