from __future__ import annotations

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection

from streamd.config.sections import WebRtcConfig
from streamd.errors import NoWebRtc
from streamd.sinks.webrtc import privates
from streamd.sinks.webrtc.ice import Connectivity, ice_transports, prepare
from streamd.sinks.webrtc.mux import SinglePort
from streamd.sinks.webrtc.ports import NoPort, PortRange


@pytest.mark.parametrize(("udp_ports", "kind"), [("auto", PortRange), ("50000-50009", PortRange), ("8189", SinglePort)])
async def test_the_mode_of_the_ports(udp_ports: str, kind: type) -> None:
    assert isinstance(Connectivity(WebRtcConfig(udp_ports=udp_ports)).gatherer.ports, kind)


async def test_no_candidate_is_no_answer() -> None:
    with pytest.raises(NoPort, match="no UDP socket"):
        Connectivity(WebRtcConfig()).answer("v=0\r\nm=video 9 X 0\r\n")


async def test_all_connections_of_a_peer_are_prepared_and_of_no_other() -> None:
    peers = [RTCPeerConnection(RTCConfiguration(iceServers=[])) for _ in range(2)]
    for peer in peers:
        peer.addTransceiver("video")
        peer.createDataChannel("x")
    prepare(peers[0], Connectivity(WebRtcConfig()).gatherer)
    prepared = [
        {"get_component_candidates" in vars(privates.connection(each)) for each in ice_transports(peer)}
        for peer in peers
    ]
    assert prepared == [{True}, {False}]
    for peer in peers:
        await peer.close()


@pytest.mark.parametrize("moved", ["_protocols", "_queue"])
async def test_a_peer_that_cannot_be_filtered_is_refused(moved: str) -> None:
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    peer.createDataChannel("x")
    [transport] = ice_transports(peer)
    kept = getattr(transport._connection, moved)
    delattr(transport._connection, moved)
    with pytest.raises(NoWebRtc, match="no video by WebRTC"):
        Connectivity(WebRtcConfig()).prepare(peer)
    setattr(transport._connection, moved, kept)
    await peer.close()
