#!/usr/bin/python3
"""Real cameras: GStreamer's RTSP server on 127.0.0.1, run by the system's Python, which has gi.

``rtsp_server.py PORT [options]`` prints "ready PORT" when it listens. Its cameras:

    /live       H.264, 640x480, a ball that moves
    /small      H.264, 320x180, colour bars, as are /h265, /bframes, /udponly (knows no TCP), /mjpeg (320x176)
    /noise      H.264, 320x180, snow in many small packets: something to damage
    /cam0 ...   with ``--cameras N``: N alike, H.264, 640x360
    /relay      with ``--relay UDP_PORT``: the H.264 that arrives there as RTP
    /push       with ``--record FILE``: takes what is pushed there, H.264, and writes it to the file, as MPEG-TS

With ``--basic`` or ``--digest USER:PASSWORD`` one has to log in; with ``--tls CERTIFICATE KEY`` it is rtsps.
"""

from __future__ import annotations

import argparse
import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import Gio, GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402

PAY = "name=pay0 pt=96 config-interval=1"
H264 = "video/x-h264,profile=constrained-baseline ! rtph264pay " + PAY


def picture(pattern: str, width: int, height: int) -> str:
    """15 fps. I420: without it jpegenc and x265enc take formats that their payloaders refuse."""
    size = f"width={width},height={height},framerate=15/1"
    return f"videotestsrc is-live=true pattern={pattern} ! video/x-raw,format=I420,{size}"


def x264(options: str = "") -> str:
    """A keyframe every third of a second: a reader that joins has its first picture soon."""
    return f"x264enc tune=zerolatency speed-preset=ultrafast threads=1 key-int-max=5 {options}"


BALL, BARS = picture("ball", 640, 480), picture("smpte", 320, 180)
PATHS = {
    "/live": f"{BALL} ! {x264('bitrate=1000 key-int-max=15')} ! {H264}",
    "/small": f"{BARS} ! {x264('bitrate=500')} ! {H264}",
    "/udponly": f"{BARS} ! {x264('bitrate=500')} ! {H264}",
    "/bframes": f"{BARS} ! x264enc speed-preset=veryfast threads=1 bframes=2 b-adapt=false rc-lookahead=5"
    f" sync-lookahead=0 key-int-max=15 bitrate=500 ! video/x-h264,profile=main ! rtph264pay {PAY}",
    "/h265": f"{BARS} ! x265enc tune=zerolatency speed-preset=ultrafast key-int-max=5 bitrate=500 ! rtph265pay {PAY}",
    # Motion JPEG over RTP counts width and height in eights.
    "/mjpeg": f"{picture('smpte', 320, 176)} ! jpegenc ! rtpjpegpay name=pay0 pt=26",
    "/noise": f"{picture('snow', 320, 180)} ! {x264('bitrate=1500')} ! {H264} mtu=300",
}
RELAY = (
    "udpsrc address=127.0.0.1 port={port}"
    ' caps="application/x-rtp,media=video,clock-rate=90000,encoding-name=H264,payload=96"'
    f" ! rtpjitterbuffer latency=50 ! rtph264depay ! h264parse ! rtph264pay {PAY}"
)


def main() -> None:
    options = _options()
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(options.port)
    protected = bool(options.basic or options.digest or options.tls)
    for path, pipeline in _paths(options).items():
        factory = _factory(pipeline, protected=protected)
        if path == "/push":
            factory.set_transport_mode(GstRtspServer.RTSPTransportMode.RECORD)
        if path == "/udponly":
            factory.set_protocols(GstRtsp.RTSPLowerTrans.UDP)
        server.get_mount_points().add_factory(path, factory)
    if protected:
        server.set_auth(_auth(options))
    # Else a DESCRIBE that waits for its first picture blocks all others.
    server.get_thread_pool().set_max_threads(-1)
    if not server.attach(None):
        sys.exit(f"port {options.port} cannot be had")
    print("ready", options.port, flush=True)
    GLib.MainLoop().run()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("port")
    parser.add_argument("--basic", metavar="USER:PASSWORD")
    parser.add_argument("--digest", metavar="USER:PASSWORD")
    parser.add_argument("--tls", nargs=2, metavar=("CERTIFICATE", "KEY"))
    parser.add_argument("--cameras", type=int, default=0)
    parser.add_argument("--relay", metavar="UDP_PORT")
    parser.add_argument("--record", metavar="FILE")
    return parser.parse_args()


def _paths(options: argparse.Namespace) -> dict[str, str]:
    paths = dict(PATHS)
    for number in range(options.cameras):
        paths[f"/cam{number}"] = f"{picture('ball', 640, 360)} ! {x264('bitrate=500')} ! {H264}"
    if options.record:
        # One picture after the other, as they come: what was written is there when the server is killed.
        paths["/push"] = (
            f"rtph264depay name=depay0 ! h264parse ! mpegtsmux ! filesink buffer-mode=2 location={options.record}"
        )
    if options.relay:
        paths["/relay"] = RELAY.format(port=options.relay)
    return paths


def _factory(pipeline: str, *, protected: bool) -> GstRtspServer.RTSPMediaFactory:
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(f"( {pipeline} )")
    # Clients that PLAY a shared one at the same moment abort the server (gst_rtsp_media_get_rates, 1.22); but only one
    # can have the port that is relayed.
    factory.set_shared("udpsrc" in pipeline)
    if protected:
        permissions = GstRtspServer.RTSPPermissions()
        for what in ("access", "construct"):
            permissions.add_permission_for_role("user", f"media.factory.{what}", True)
        factory.set_permissions(permissions)
    return factory


def _auth(options: argparse.Namespace) -> GstRtspServer.RTSPAuth:
    auth = GstRtspServer.RTSPAuth()
    if options.tls:
        auth.set_tls_certificate(Gio.TlsCertificate.new_from_files(*options.tls))
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "user")
    if options.digest:
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        auth.add_digest(*options.digest.split(":", 1), token)
    elif options.basic:
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(*options.basic.split(":", 1)), token)
    else:  # TLS alone: everybody may look
        auth.set_default_token(token)
    return auth


if __name__ == "__main__":
    main()
