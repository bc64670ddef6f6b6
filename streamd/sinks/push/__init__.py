"""Sends a stream to servers that fan it out, record it or show it: ``push`` of a stream.

Over sockets of the event loop, with a deadline on whatever a peer could delay. RTSP is in ``rtsp.py``, WHIP in
``webrtc/whip.py``.
"""
