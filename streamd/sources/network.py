"""Cameras on the network: RTSP, and HTTP (MJPEG, HLS)."""

from __future__ import annotations

from collections.abc import Generator

import av

from streamd.errors import SourceEnded
from streamd.sources.base import Source


class NetworkSource(Source):
    def frames(self) -> Generator[av.VideoFrame]:
        with self.opened(self.config.source, options=self.open_options()) as container:
            yield from self.decoded(container)
        if not self.stop.is_set():  # a killed camera ends the decode loop without an error (measured)
            raise SourceEnded(self.name, "stopped sending")

    def open_options(self) -> dict[str, str]:
        return {}


class RtspSource(NetworkSource):
    def open_options(self) -> dict[str, str]:
        wanted = {"tcp": "tcp", "udp": "udp", "auto": "tcp+udp"}
        return {
            "rtsp_transport": wanted[self.config.transport],
            # Microseconds. FFmpeg notices silence after about twice this (measured).
            "timeout": str(int(self.config.read_timeout_s * 500_000)),
            # Default probing costs 1-2 s before the first frame and then delivers a burst; so 0.23 s.
            "analyzeduration": "100000",
            "probesize": "50000",
        }


class HttpSource(NetworkSource):
    pass
