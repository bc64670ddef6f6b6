"""Cameras on the network: RTSP, and HTTP (MJPEG, HLS)."""

from __future__ import annotations

import errno
import time
from collections.abc import Generator, Iterator
from typing import Any
from urllib.parse import urlsplit

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from streamd.config.redact import redact_source
from streamd.errors import SourceEnded, SourceError
from streamd.sources.base import Source, TransportRefused
from streamd.sources.credentials import resolve
from streamd.sources.file import Pace
from streamd.sources.reach import is_reachable

PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}
PROBE_EVERY_S = 1.5


class NetworkSource(Source):
    @property
    def url(self) -> str:
        """With its password: for FFmpeg only. Raises SourceRejected."""
        return resolve(self.config.source, self.name)

    def packets(self, container: InputContainer, stream: VideoStream) -> Iterator[Packet[Any]]:
        """Those of all streams, for PyAV's time limit starts anew with each packet, also one of sound that it
        throws away: a camera that went on with sound only would never be noticed."""
        for packet in container.demux():
            if packet.stream is stream:
                yield packet
            else:
                self.check_patience()

    def await_return(self, delay_s: float) -> None:
        """Waits on ``stop``, at most ``delay_s``; a host that could not be reached and can be again ends it."""
        address = urlsplit(redact_source(self.config.source))
        port = address.port or PORTS[address.scheme]
        until, away = time.monotonic() + delay_s, False
        while (left_s := until - time.monotonic()) > 0 and not self.stop.is_set():
            reachable = is_reachable(address.hostname or "", port, min(left_s, 1.0), self.stop)
            if reachable and away:
                return
            away = away or not reachable
            self.stop.wait(min(PROBE_EVERY_S, max(0.0, until - time.monotonic())))


class RtspSource(NetworkSource):
    _transport: str | None = None
    """What ``auto`` has found."""

    def frames(self) -> Generator[av.VideoFrame]:
        for transport in self._transports():
            try:
                with self.opened(self.url, options=self.open_options(transport)) as container:
                    self._transport = transport
                    yield from self.decoded(container)
            except TransportRefused:
                if transport == "tcp" and self.config.transport == "auto":
                    continue
                self._transport = None
                raise
            if not self.stop.is_set():  # a killed camera ends the decode loop without an error (measured)
                raise SourceEnded(self.name, "stopped sending")
            return

    def _transports(self) -> tuple[str, ...]:
        """One after the other: FFmpeg's own "tcp+udp" takes UDP first (measured)."""
        if self.config.transport != "auto":
            return (self.config.transport,)
        return (self._transport,) if self._transport else ("tcp", "udp")

    def open_options(self, transport: str) -> dict[str, str]:
        return {
            "rtsp_transport": transport,
            "allowed_media_types": "video",
            # Microseconds of silence: in opening and closing; in between PyAV's limit comes first.
            "timeout": str(int(1e6 * self.config.read_timeout_s)),
            # Default probing costs 1-2 s before the first frame and then delivers a burst; so 0.3 s. The frame rate
            # alone would cost 20 pictures.
            "analyzeduration": "100000",
            "probesize": "50000",
            "fpsprobesize": "0",
        }


class HttpSource(NetworkSource):
    def frames(self) -> Generator[av.VideoFrame]:
        silence_us = int(1e6 * self.config.read_timeout_s)
        with self.opened(self.url, options={"rw_timeout": str(silence_us)}) as container:
            ends = container.duration is not None
            # Both come in bursts, as fast as the line is. Motion JPEG and the like come as they are filmed.
            paced = self.config.realtime and (ends or container.format.name.startswith("hls"))
            pace = Pace() if paced else None
            for picture in self.decoded(container):
                if pace and self.stop.wait(pace.delay(picture)):
                    return
                yield picture
        if not ends and not self.stop.is_set():
            raise SourceEnded(self.name, "stopped sending")

    def told(self, error: Exception, *, opening: bool, elapsed_s: float) -> SourceError:
        if not opening and isinstance(error, OSError) and error.errno == errno.EIO:
            return SourceEnded(self.name, "stopped sending")  # FFmpeg's word for an end before its time
        return super().told(error, opening=opening, elapsed_s=elapsed_s)
