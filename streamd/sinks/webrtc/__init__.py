"""WebRTC viewers: one session each, all fed by the packets that were encoded once.

The only place that imports aiortc and aioice, pinned in pyproject.toml. What they do not offer in public is listed
in ``privates``, and is done without if a release moves it. Everything runs on the event loop.
"""

from streamd.sinks.webrtc.session import Session
from streamd.sinks.webrtc.sink import WebRtcSink

__all__ = ["Session", "WebRtcSink"]
