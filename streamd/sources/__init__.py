"""Where frames come from: one file per kind, found by the form of ``source =``."""

from __future__ import annotations

import threading
from collections.abc import Mapping

from streamd.config.address import SourceAddress, SourceKind
from streamd.config.sections import StreamConfig
from streamd.sources import permitted
from streamd.sources.base import Source
from streamd.sources.file import DemoSource, FileSource
from streamd.sources.http import HttpSource
from streamd.sources.lavfi import LavfiSource
from streamd.sources.media_directories import NO_MEDIA, MediaDirectories
from streamd.sources.network import PushedSource, RtspSource
from streamd.sources.protocols import lacking
from streamd.sources.refused import LackingSource, RefusedSource
from streamd.sources.webcam import WebcamSource
from streamd.states import Origin

KINDS: Mapping[SourceKind, type[Source]] = {
    SourceKind.RTSP: RtspSource,
    SourceKind.HTTP: HttpSource,
    SourceKind.RTMP: PushedSource,
    SourceKind.SRT: PushedSource,
    SourceKind.UDP: PushedSource,
    SourceKind.WEBCAM: WebcamSource,
    SourceKind.DEMO: DemoSource,
    SourceKind.LAVFI: LavfiSource,
}


def open_source(
    config: StreamConfig,
    stop: threading.Event,
    threads: int = 1,
    media: MediaDirectories = NO_MEDIA,
    origin: Origin = Origin.FILE,
) -> Source:
    """The source for ``config.source``. Opens nothing yet. ``threads`` may decode one picture of a live source;
    files in ``media`` are not followed out of it by links. Of a stream that the API added, what the API may not set
    (any more) is never opened."""
    if origin is Origin.API and (reason := permitted.refusal(config.source, media)):
        return RefusedSource(config, stop, reason)
    if reason := lacking(config.source):
        return LackingSource(config, stop, reason)
    kind = SourceAddress.parse(config.source).kind
    if kind is SourceKind.FILE:
        return FileSource(config, stop, threads, media)
    return KINDS[kind](config, stop, threads)


__all__ = ["FileSource", "MediaDirectories", "Source", "open_source"]
