"""Where frames come from: one file per kind, found by the form of ``source =``."""

from __future__ import annotations

import threading

from streamd.config.sections import StreamConfig
from streamd.sources.base import Source
from streamd.sources.file import DemoSource, FileSource
from streamd.sources.lavfi import LavfiSource
from streamd.sources.network import HttpSource, RtspSource
from streamd.sources.webcam import WebcamSource

KINDS: tuple[tuple[tuple[str, ...], type[Source]], ...] = (
    (("rtsp://", "rtsps://"), RtspSource),
    (("http://", "https://"), HttpSource),
    (("/dev/", "v4l2:"), WebcamSource),
    (("demo:",), DemoSource),
    (("lavfi:",), LavfiSource),
)


def open_source(config: StreamConfig, stop: threading.Event, threads: int = 1) -> Source:
    """The source for ``config.source``; what fits no other form is a file. Opens nothing yet.
    ``threads`` may decode one picture of a live source."""
    for prefixes, kind in KINDS:
        if config.source.startswith(prefixes):
            return kind(config, stop, threads)
    return FileSource(config, stop, threads)


__all__ = ["FileSource", "Source", "open_source"]
