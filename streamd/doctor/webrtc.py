"""How viewers reach this box, step by step: ``streamd doctor --webrtc``."""

from __future__ import annotations

import asyncio
import ipaddress
import os
from collections.abc import Iterator

from streamd.config.secret import read_secret
from streamd.config.sections import Config
from streamd.doctor.finding import Finding, Status
from streamd.doctor.machine import answers
from streamd.errors import ConfigError, NoWebRtc, ViewersFull

MAX_PORTS = 1000
"""Of a range are tried; a larger one is not used up by 1000 viewers."""
_STEPS = {
    "ICE": ("ICE: no check came through", "see firewall rules for UDP on this box (`nft list ruleset`)"),
    "DTLS": ("ICE connects, DTLS does not", "packets above about 1200 bytes get lost: see the interface's MTU"),
    "SRTP": ("ICE and DTLS connect, no picture comes (SRTP)", "please report this"),
}
_KINDS = {"host": "", "srflx": " (from outside)", "relay": " (by TURN)"}


def offered(config: Config) -> Iterator[Finding]:
    """The addresses in an answer."""
    from streamd.sinks.webrtc import addresses as own

    webrtc = config.webrtc
    for missing in own.unmatched(webrtc.interfaces):
        advice = "`ip address` shows what there is"
        yield Finding("offered", "problem", f"webrtc.interfaces: no address of this box is on {missing}", advice)
    addresses = own.host_addresses(webrtc.interfaces, loopback=config.server.loopback)
    found = f"viewers are offered {', '.join(addresses)}"
    if all(ipaddress.ip_address(address).is_loopback for address in addresses):
        yield Finding("offered", "warning", found, "only this box can watch: is the network up?", addresses)
    else:
        yield Finding("offered", "ok", found, details=addresses)
    yield from _advertised(config)


def _advertised(config: Config) -> Iterator[Finding]:
    from streamd.sinks.webrtc.advertise import Advertised

    # The resolver's own limit is 10 s and more for each name. It reads this at its first look-up.
    os.environ.setdefault("RES_OPTIONS", "timeout:1 attempts:1")
    for each in config.webrtc.advertise:
        addresses = Advertised.looked_up(each)
        if not addresses:
            yield Finding("offered", "problem", f"webrtc.advertise: {each} cannot be looked up", "give its address")
            continue
        found = f"and {', '.join(addresses)}" + (f" (advertised as {each})" if [each] != addresses else " (advertised)")
        if config.webrtc.ports is None:
            advice = "a router can only pass on ports that it knows: set webrtc.udp_ports"
            yield Finding("offered", "warning", found, advice, addresses)
        else:
            yield Finding("offered", "ok", found, details=addresses)


def udp_ports(config: Config) -> Iterator[Finding]:
    """Whether they can be had, at each address."""
    from streamd.sinks.webrtc import addresses as own

    ports = config.webrtc.ports
    addresses = own.host_addresses(config.webrtc.interfaces, loopback=config.server.loopback)
    if ports is not None and 1 < len(ports) < config.webrtc.max_viewers:
        advice = "give more, or one for all, or lower webrtc.max_viewers"
        yield Finding("udp_ports", "warning", f"{len(ports)} ports are for {len(ports)} viewers at once", advice)
    for address in addresses:
        yield _bound(config, address, ports)


def _bound(config: Config, address: str, ports: range | None) -> Finding:
    from streamd.sinks.webrtc.ports import bind

    free, reason = 0, ""
    tried = [range(1)] if ports is None else [range(port, port + 1) for port in ports[:MAX_PORTS]]
    for port in tried:
        try:
            bind(address, port).close()
            free += 1
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
    what = "any port" if ports is None else f"port {ports[0]}" if len(ports) == 1 else f"ports {ports[0]}-{ports[-1]}"
    if free == len(tried):
        return Finding("udp_ports", "ok", f"{address}: {what} can be had")
    if free:
        return Finding("udp_ports", "ok", f"{address}: {free} of {len(tried)} {what} are free")
    if answers(*config.server.address, https=config.server.tls_key is not None):
        return Finding("udp_ports", "ok", f"{address}: {what} taken, by the streamd that runs as it seems")
    advice = "`ss -lunp` shows which program holds it; or choose another webrtc.udp_ports"
    return Finding("udp_ports", "problem", f"{address}: {what} cannot be had: {reason}", advice)


def calls(config: Config) -> Iterator[Finding]:
    """A viewer in this process, through each address that is offered."""
    from streamd.sinks.webrtc import probe

    webrtc, note = config.webrtc, ""
    try:
        try:
            made = asyncio.run(probe.call(webrtc, loopback=config.server.loopback))
        except ViewersFull:  # its ports are taken, as the check above has shown
            note = ", on other ports"
            webrtc = webrtc.model_copy(update={"udp_ports": "auto"})
            made = asyncio.run(probe.call(webrtc, loopback=config.server.loopback))
    except (ConfigError, NoWebRtc, ViewersFull) as error:
        yield Finding("calls", "problem", f"no call was made: {error}", "solve this first")
        return
    for each in made:
        where = each.address + _KINDS.get(each.kind, "")
        if not each.failed:
            yield Finding("calls", "ok", f"{where}: a picture came after {each.seconds:.1f} s{note}")
            continue
        step, advice = _STEPS[each.failed]
        status: Status = "problem"
        if each.kind == "srflx":
            status, advice = "warning", "many routers do not let the inside call the outside: try from elsewhere"
        yield Finding("calls", status, f"{where}: {step}{note}", advice)


def servers(config: Config) -> Iterator[Finding]:
    """STUN: a binding. TURN: an allocation with the credentials."""
    if not config.webrtc.ice_servers:
        yield Finding("servers", "ok", "no STUN or TURN server is configured, and none is used")
    for server in config.webrtc.ice_servers:
        try:
            credential = read_secret(server.credential, "credential")
        except ValueError as error:
            yield Finding("servers", "problem", f"{server.urls[0]}: {error}", "see webrtc.ice_servers")
            continue
        for url in server.urls:
            yield _ask_server(url, server.username, credential)


def _ask_server(url: str, username: str, credential: str) -> Finding:
    from streamd.sinks.webrtc.probe import ask
    from streamd.sinks.webrtc.servers import is_for_us

    if not is_for_us(url):
        return Finding("servers", "warning", f"{url}: for viewers only: streamd has no use for this kind")
    try:
        address = asyncio.run(ask(url, username, credential))
    except OSError as error:
        # asyncio's own text names the address again; name servers have numbers of their own, below 0.
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)
        advice = "is it on, and are host, port, username and credential right?"
        return Finding("servers", "problem", f"{url}: {reason.lower()}", advice)
    what = "gives us" if url.startswith("turn") else "sees us at"
    return Finding("servers", "ok", f"{url}: {what} {address}")


def outside(config: Config) -> Iterator[Finding]:
    """What can be checked only from the other side."""
    ports = config.webrtc.ports
    which = "UDP" if ports is None else f"UDP {config.webrtc.udp_ports}"
    advice = (
        f"let {which} through to this box; behind a router or in a container set webrtc.advertise;"
        " a viewer whose network has no UDP needs TURN over TCP, or sees MJPEG"
    )
    yield Finding("outside", "ok", "firewalls and routers between here and viewers cannot be tested from here", advice)
