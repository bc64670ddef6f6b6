from __future__ import annotations

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection

from streamd.config.sections import WebRtcConfig
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


async def test_a_peer_whose_private_parts_have_moved_gathers_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(privates, "connection", lambda transport: None)
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    peer.createDataChannel("x")
    Connectivity(WebRtcConfig()).prepare(peer)
    await peer.setLocalDescription(await peer.createOffer())
    assert "a=ice-ufrag" in peer.localDescription.sdp
    await peer.close()
