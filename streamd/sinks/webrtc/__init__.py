"""WebRTC viewers: one session each, all fed by the packets that were encoded once.

The only place that imports aiortc and aioice, pinned to ``aiortc>=1.15,<2`` and ``aioice<1``. Whatever
they do not offer in public is reached for in ``rtp.hook_sender`` and ``hook_receiver`` (per viewer), ``ice``
and ``ports`` (per process), nowhere else, and is done without if a release moves it. Everything runs on the
event loop.
"""

from streamd.sinks.webrtc.session import Session
from streamd.sinks.webrtc.sink import WebRtcSink

__all__ = ["Session", "WebRtcSink"]
