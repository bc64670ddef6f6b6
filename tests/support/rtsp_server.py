#!/usr/bin/python3
"""A real camera: GStreamer's RTSP server with a moving ball, ``rtsp://127.0.0.1:PORT/live``.

``rtsp_server.py PORT [--digest USER:PASSWORD]``, run by the system's Python, which has gi. Prints
"ready PORT" when it listens. Paths: /live (H.264), /mjpeg. With ``--digest`` one has to log in.
"""

from __future__ import annotations

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

# I420: without it jpegenc and x265enc take formats that their payloaders refuse.
BALL = "videotestsrc is-live=true pattern=ball ! video/x-raw,format=I420,width=640,height=480,framerate=15/1"
PATHS = {
    "/live": f"{BALL} ! x264enc tune=zerolatency speed-preset=ultrafast key-int-max=15 bitrate=1000"
    " ! video/x-h264,profile=constrained-baseline ! rtph264pay name=pay0 pt=96 config-interval=1",
    "/mjpeg": f"{BALL} ! jpegenc ! rtpjpegpay name=pay0 pt=26",
}


def main() -> None:
    Gst.init(None)
    port = sys.argv[1]
    login = sys.argv[3].split(":") if "--digest" in sys.argv else None
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(port)
    for path, pipeline in PATHS.items():
        server.get_mount_points().add_factory(path, _factory(pipeline, protected=login is not None))
    if login:
        server.set_auth(_digest(*login))
    # Else a DESCRIBE that waits for its first picture blocks all others.
    server.get_thread_pool().set_max_threads(-1)
    if not server.attach(None):
        sys.exit(f"port {port} cannot be had")
    print("ready", port, flush=True)
    GLib.MainLoop().run()


def _factory(pipeline: str, *, protected: bool) -> GstRtspServer.RTSPMediaFactory:
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(f"( {pipeline} )")
    factory.set_shared(True)
    if protected:
        permissions = GstRtspServer.RTSPPermissions()
        for what in ("access", "construct"):
            permissions.add_permission_for_role("user", f"media.factory.{what}", True)
        factory.set_permissions(permissions)
    return factory


def _digest(user: str, password: str) -> GstRtspServer.RTSPAuth:
    auth = GstRtspServer.RTSPAuth()
    auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "user")
    auth.add_digest(user, password, token)
    return auth


if __name__ == "__main__":
    main()
