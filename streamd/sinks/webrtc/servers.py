"""STUN and TURN servers: for streamd itself and for viewers. None by default, and never a third party's."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from urllib.parse import quote

from aiortc import RTCConfiguration, RTCIceServer
from aiortc.rtcicetransport import parse_stun_turn_uri

from streamd.config.secret import read_secret
from streamd.config.sections import IceServer, WebRtcConfig
from streamd.errors import ConfigError, Problem

PAUSE_S = 60.0
"""For how long servers that did not answer are not asked again."""
_KINDS = {"stun": "srflx", "turn": "relay"}
"""What the candidates are called that each kind of server gives."""

log = logging.getLogger(__name__)


def configuration(config: WebRtcConfig) -> RTCConfiguration:
    """For aiortc, which takes the first STUN and the first TURN server that it can use. Without any of ours it
    would ask Google's: hence the empty list. Raises ConfigError when a secret is missing."""
    servers = []
    for number, server in enumerate(config.ice_servers):
        urls = [url for url in server.urls if is_for_us(url)]
        if urls:
            secret = _credential(server, number)
            servers.append(RTCIceServer(urls, server.username or None, secret or None))
    return RTCConfiguration(iceServers=servers)


def is_for_us(url: str) -> bool:
    """Whether aiortc can use it: it raises for IPv6 addresses in URLs, and has no STUN over TLS."""
    try:
        parsed = parse_stun_turn_uri(url)
    except ValueError:
        return False
    transport = parsed.get("transport", "udp")
    return bool(parsed["scheme"] != "stuns" and (parsed["scheme"] != "turns" or transport == "tcp"))


def links(config: WebRtcConfig) -> list[str]:
    """A value for a ``Link`` header per URL: WHEP draft-03, in the form of RFC 8288.

    Raises ConfigError when a secret is missing, or no header can hold it.
    """
    return [
        _link(url, server.username, _credential(server, number), number)
        for number, server in enumerate(config.ice_servers)
        for url in server.urls
    ]


def _link(url: str, username: str, credential: str, number: int) -> str:
    value = f'<{quote(url, safe=":/?&=[]@%,;+!$*~")}>; rel="ice-server"'
    if url.startswith("turn") and (username or credential):
        place = f"webrtc.ice_servers.{number}"
        value += f"; username={_quoted(username, f'{place}.username')}"
        value += f"; credential={_quoted(credential, f'{place}.credential')}"
        value += '; credential-type="password"'
    return value


def _quoted(text: str, place: str) -> str:
    """A quoted-string (RFC 9110, 5.6.4). Printable ASCII alone, so that nothing breaks out of the header."""
    if not re.fullmatch(r"[\x20-\x7e]*", text):
        raise ConfigError([Problem(place, "", "has characters that no HTTP header can hold: take plain ASCII")])
    return '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'


def _credential(server: IceServer, number: int) -> str:
    try:
        return read_secret(server.credential, "credential")
    except ValueError as error:
        raise ConfigError([Problem(f"webrtc.ice_servers.{number}", "", str(error))]) from None


class Servers:
    """The servers of a sink. One that is silent costs a viewer 2 s (``ice.GATHER_S``), then none for a minute."""

    def __init__(self, config: WebRtcConfig, clock: Callable[[], float] = time.monotonic) -> None:
        """Raises ConfigError."""
        self.links = links(config)
        self._all = configuration(config).iceServers or []
        self._clock = clock
        self._paused_until: dict[str, float] = {}

    def configuration(self) -> RTCConfiguration:
        """For a viewer who comes now."""
        awake = [
            RTCIceServer(
                [url for url in server.urls if not self._is_paused(url[:4])], server.username, server.credential
            )
            for server in self._all
        ]
        return RTCConfiguration(iceServers=[server for server in awake if server.urls])

    def _is_paused(self, kind: str) -> bool:
        return self._clock() < self._paused_until.get(kind, float("-inf"))

    def note_answer(self, sdp: str) -> None:
        """Learns from an answer which servers gave a candidate."""
        for kind, candidate in _KINDS.items():
            asked = any(url.startswith(kind) for server in self._all for url in server.urls)
            if not asked or self._is_paused(kind):
                continue
            if f" typ {candidate}" in sdp:
                self._paused_until.pop(kind, None)
            else:
                log.warning("the %s server of webrtc.ice_servers gave no address: next try in a minute", kind.upper())
                self._paused_until[kind] = self._clock() + PAUSE_S
