"""Streams by RTSP (RFC 2326), for recorders, players and robots: rtsp://HOST:PORT/NAME/VIEW.

Our own server: GstRtspServer is no Python package and encodes for itself, aiortsp and PyAV are clients. What it
sends are the packets that all viewers get, split into RTP once for all of them.
"""

from streamd.sinks.rtsp.login import Login
from streamd.sinks.rtsp.server import RtspServer

__all__ = ["Login", "RtspServer"]
