"""The end of an aiortc peer connection."""

from __future__ import annotations

from aiortc import RTCPeerConnection


async def close_peer(peer: RTCPeerConnection) -> None:
    """Closes it and all that it has begun. Safe to repeat.

    aiortc stops what sends and receives, and then the transports. A handshake that ends in between starts both anew,
    and their reports went on for ever (no ticket found).
    """
    await peer.close()
    for transceiver in peer.getTransceivers():
        await transceiver.stop()
