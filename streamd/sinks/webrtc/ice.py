"""How viewers reach this box: ``[webrtc]`` as each session's ICE connection gets it."""

from __future__ import annotations

import logging

from aiortc import RTCConfiguration, RTCIceTransport, RTCPeerConnection

from streamd.config.sections import WebRtcConfig
from streamd.errors import NoWebRtc
from streamd.sinks.webrtc import privates
from streamd.sinks.webrtc.advertise import Advertised, advertise
from streamd.sinks.webrtc.gather import Gatherer
from streamd.sinks.webrtc.mux import SinglePort
from streamd.sinks.webrtc.ports import NoPort, PortRange, Ports
from streamd.sinks.webrtc.servers import Servers

log = logging.getLogger(__name__)


class Connectivity:
    """The settings of ``[webrtc]`` for ICE, for all sessions of one sink. Event loop only.

    A session uses ``configuration`` for its peer, lets it be prepared before it answers, and sends what ``answer``
    gives.
    """

    def __init__(self, config: WebRtcConfig, *, loopback: bool = False) -> None:
        """Raises ConfigError when a secret is missing."""
        privates.warn_of_missing()
        self.gatherer = Gatherer(_ports(config.ports), config.interfaces, loopback)
        self._config = config
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

    def prepare(self, peer: RTCPeerConnection) -> None:
        """Between ``setRemoteDescription`` and ``setLocalDescription``, which then gathers in our way.
        Raises NoWebRtc."""
        prepare(peer, self.gatherer)

    def answer(self, sdp: str) -> str:
        """The answer as the viewer gets it, with the advertised addresses. Raises NoPort."""
        if "a=candidate:" not in sdp:
            raise NoPort(self._config.ports)
        self._servers.note_answer(sdp)
        return advertise(sdp, self._advertised.addresses())


def prepare(peer: RTCPeerConnection, gatherer: Gatherer) -> None:
    """Lets the peer's ICE connections gather in our way. Raises NoWebRtc where a release has moved it: without the
    filter, strangers' packets would reach DTLS."""
    for transport in ice_transports(peer):
        connection = privates.connection(transport)
        if connection is None:
            raise NoWebRtc
        gatherer.attach(connection)


def ice_transports(peer: RTCPeerConnection) -> set[RTCIceTransport]:
    """One where the sections of the offer are bundled."""
    dtls = {transceiver.receiver.transport for transceiver in peer.getTransceivers()}
    if peer.sctp is not None:
        dtls.add(peer.sctp.transport)
    return {each.transport for each in dtls}


def _ports(ports: range | None) -> Ports:
    if ports is None:
        return PortRange()
    return SinglePort(ports[0]) if len(ports) == 1 else PortRange(ports)
