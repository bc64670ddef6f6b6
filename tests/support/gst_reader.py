#!/usr/bin/python3
"""Reads pictures by RTSP with GStreamer's rtspsrc, run by the system's Python, which has gi.

``gst_reader.py URL tcp|udp COUNT`` prints how many it has decoded, and what went wrong.
"""

from __future__ import annotations

import sys

import gi

gi.require_version("Gst", "1.0")
from gi.repository import Gst  # noqa: E402


def main() -> None:
    url, transport, count = sys.argv[1:]
    Gst.init(None)
    source = f'rtspsrc location="{url}" protocols={transport} latency=0 ! rtph264depay ! h264parse ! avdec_h264'
    pipeline = Gst.parse_launch(f"{source} ! identity eos-after={int(count) + 1} name=n ! fakesink sync=0")
    seen = 0

    def see(pad: object, info: object) -> object:
        nonlocal seen
        seen += 1
        return Gst.PadProbeReturn.OK

    pipeline.get_by_name("n").get_static_pad("src").add_probe(Gst.PadProbeType.BUFFER, see)
    pipeline.set_state(Gst.State.PLAYING)
    ends = Gst.MessageType.EOS | Gst.MessageType.ERROR
    message = pipeline.get_bus().timed_pop_filtered(20 * Gst.SECOND, ends)
    pipeline.set_state(Gst.State.NULL)
    if message is None or message.type == Gst.MessageType.ERROR:
        print("error:", message.parse_error() if message else "timed out")
    print(seen, "pictures")


main()
