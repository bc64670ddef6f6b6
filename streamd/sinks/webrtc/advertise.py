"""Addresses under which viewers reach this box though no interface has them: a router's, a container host's."""

from __future__ import annotations

import ipaddress
import logging
import re
import socket
import time
from collections.abc import Sequence

from aioice.candidate import candidate_foundation, candidate_priority

from streamd.concurrency import threads

REFRESH_S = 60.0
"""How long a name is taken to mean the same address: a router at home gets another now and then."""

_HOST = re.compile(r"^a=candidate:\S+ 1 udp \d+ (?P<ip>\S+) (?P<port>\d+) typ host\b[^\r\n]*", re.MULTILINE)
_SECTION = re.compile(r"(?=^m=)", re.MULTILINE)

log = logging.getLogger(__name__)


def advertise(sdp: str, addresses: Sequence[str]) -> str:
    """``sdp`` with a candidate of each address in each section that has candidates, below those.

    With the port of each host candidate of its family, or of any when there is none of its family: which of
    them the router passes packets to, only it knows. As server reflexive, for that they are (RFC 8445, 5.1.1.2):
    viewers then try the direct way first.
    """
    return "".join(_section(part, addresses) for part in _SECTION.split(sdp))


def _section(part: str, addresses: Sequence[str]) -> str:
    hosts = list(_HOST.finditer(part))
    if not hosts:
        return part
    there = {(ipaddress.ip_address(host["ip"]), int(host["port"])) for host in hosts}
    lines: list[str] = []
    for address in map(ipaddress.ip_address, addresses):
        same = [host for host in hosts if ipaddress.ip_address(host["ip"]).version == address.version]
        for host in same or hosts:
            if (address, int(host["port"])) not in there:
                there.add((address, int(host["port"])))
                lines.append(_candidate(str(address), host, len(lines)))
    end = hosts[-1].end()
    return part[:end] + "".join(f"\r\n{line}" for line in lines) + part[end:]


def _candidate(address: str, host: re.Match[str], number: int) -> str:
    foundation = candidate_foundation("srflx", "udp", f"{address} {host['ip']}")
    priority = candidate_priority(1, "srflx", 65535 - number)
    where = f"{address} {host['port']} typ srflx raddr {host['ip']} rport {host['port']}"
    return f"a=candidate:{foundation} 1 udp {priority} {where}"


class Advertised:
    """``webrtc.advertise`` with its names looked up: at the start, and again as viewers come, in a thread.

    A look-up that fails or takes long costs the viewer nothing but that address.
    """

    def __init__(self, wanted: Sequence[str]) -> None:
        self._wanted = wanted
        self._names = [each for each in wanted if not _is_address(each)]
        self._found: dict[str, list[str]] = {}
        """Replaced as a whole by the thread."""
        self._looked_at = float("-inf")
        self._worker: threads.Worker | None = None
        self._refresh()

    def addresses(self) -> list[str]:
        """As far as they are known. Never waits."""
        self._refresh()
        found = self._found
        return [address for each in self._wanted for address in found.get(each, [each] if _is_address(each) else [])]

    def _refresh(self) -> None:
        busy = self._worker is not None and self._worker.is_alive()
        if self._names and not busy and time.monotonic() - self._looked_at > REFRESH_S:
            self._looked_at = time.monotonic()
            self._worker = threads.start("advertise", self._look_up)

    def _look_up(self) -> None:
        self._found = {name: resolve(name) or self._found.get(name, []) for name in self._names}

    @staticmethod
    def looked_up(each: str) -> list[str]:
        """What one of them stands for. Blocks."""
        return [each] if _is_address(each) else resolve(each)


def resolve(name: str) -> list[str]:
    """Its addresses; none when it has none. Blocks as long as name servers do."""
    try:
        infos = socket.getaddrinfo(name, None, type=socket.SOCK_DGRAM)
    except (OSError, UnicodeError) as error:
        log.warning("webrtc.advertise: %s cannot be looked up: %s", name, error)
        return []
    return list(dict.fromkeys(str(info[4][0]) for info in infos if _is_address(str(info[4][0]))))


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text
