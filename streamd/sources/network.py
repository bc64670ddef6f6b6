"""Cameras on the network."""

from __future__ import annotations

import errno
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import av
import av.error
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from streamd.config.address import SourceKind
from streamd.errors import SourceEnded, SourceError, SourceUnreachable, SourceUnsupported
from streamd.sources import base
from streamd.sources.base import Source, TransportRefused
from streamd.sources.connection import is_reachable
from streamd.sources.credentials import Credentials, credentials
from streamd.sources.rtsp_relay import RtspRelay
from streamd.sources.udp import await_datagram

PROBE_EVERY_S = 1.5
UDP_REASONS = {
    errno.EADDRINUSE: "another program listens to this port",
    errno.EADDRNOTAVAIL: "is not an address of this machine: udp://:PORT takes what comes to any of them",
    errno.ENODEV: "no network interface leads to this group: name an address of one, as ?localaddr=ADDRESS",
}


class NetworkSource(Source):
    def credentials(self) -> Credentials | None:
        """Raises SourceRejected."""
        return credentials(self.address, self.name)

    @property
    def url(self) -> str:
        """With its password: for FFmpeg only. Raises SourceRejected."""
        login = self.credentials()
        return self.address.url(login.escaped if login else "")

    def packets(self, container: InputContainer, stream: VideoStream) -> Iterator[Packet[Any]]:
        """Those of all streams, for PyAV's time limit starts anew with each packet, also one of sound that it
        throws away: a camera that went on with sound only would never be noticed."""
        with suppress(IndexError):  # PyAV's, at the end, when there are more streams than at the beginning
            for packet in container.demux():
                if packet.stream is stream:
                    yield packet
                else:
                    self.check_patience()

    def await_return(self, delay_s: float) -> None:
        """Waits on ``stop``, at most ``delay_s``; a host that could not be reached and can be again ends it."""
        until, away = time.monotonic() + delay_s, False
        while (left_s := until - time.monotonic()) > 0 and not self.stop.is_set():
            reachable = is_reachable(self.address.host, self.address.port, min(left_s, 1.0), self.stop)
            if reachable and away:
                return
            away = away or not reachable
            self.stop.wait(min(PROBE_EVERY_S, max(0.0, until - time.monotonic())))

    def until_lost(self, container: InputContainer) -> Iterator[av.VideoFrame]:
        """Its pictures. Raises SourceEnded at an end, which a live source does not have."""
        yield from self.decoded(container)
        if not self.stop.is_set():  # a killed camera ends the decode loop without an error (measured)
            raise SourceEnded(self.name, "stopped sending")


class RtspSource(NetworkSource):
    def frames(self) -> Generator[av.VideoFrame]:
        for transport in self._transports():
            try:
                with (
                    self._relayed() as relay,
                    self.opened(relay.url, options=self.open_options(transport)) as container,
                ):
                    yield from self.until_lost(container)
            except TransportRefused:
                if transport == "tcp" and self.config.transport == "auto":
                    continue
                raise
            return

    @contextmanager
    def _relayed(self) -> Iterator[RtspRelay]:
        """Raises SourceError."""
        login, started = self.credentials(), time.monotonic()
        silence_s = min(base.OPEN_TIMEOUT_S, self.config.read_timeout_s)
        try:
            relay = RtspRelay(self.address, self.name, login, silence_s, self.stop)
        except (OSError, UnicodeError) as error:
            raise self.explain(error, opening=True, elapsed_s=time.monotonic() - started) from None
        with relay:
            try:
                yield relay
            except SourceError:
                if relay.failure is not None:
                    raise relay.failure from None
                raise

    def _transports(self) -> tuple[str, ...]:
        """One after the other: FFmpeg's own "tcp+udp" takes UDP first (measured)."""
        if self.address.scheme == "rtsps":
            return ("tcp",)
        return ("tcp", "udp") if self.config.transport == "auto" else (self.config.transport,)

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


class PushedSource(NetworkSource):
    """Live video in one stream of bytes: RTMP, SRT, or MPEG-TS by UDP."""

    def frames(self) -> Generator[av.VideoFrame]:
        if self.address.kind is SourceKind.UDP:
            self._await_sender()
        with self.opened(self.url, format=self._format, options=self.open_options()) as container:
            yield from self.until_lost(container)

    @property
    def _format(self) -> str:
        return "flv" if self.address.kind is SourceKind.RTMP else "mpegts"

    def open_options(self) -> dict[str, str]:
        silence_us = str(int(1e6 * self.config.read_timeout_s))
        options = {
            "protocol_whitelist": f"{self.address.scheme},tcp,udp",
            "rw_timeout": silence_us,
            "fpsprobesize": "0",
        }
        options["analyzeduration"] = "1000000"  # µs: it would wait 5 s for sound that a header promised
        if self.address.kind is SourceKind.UDP:
            options["timeout"] = silence_us  # of RTMP it means: listen
            options["overrun_nonfatal"] = "1"  # when decoding does not keep up, what is lost is passed over
        return options

    def explain(self, error: Exception, *, opening: bool, elapsed_s: float) -> SourceError:
        described = super().explain(error, opening=opening, elapsed_s=elapsed_s)
        if not isinstance(described, SourceUnreachable):
            return described
        if opening and self.address.kind is SourceKind.UDP:  # whose sender was there a moment ago
            return SourceUnsupported(self.name, "is sent something that is no MPEG-TS with video")
        return described if opening else SourceEnded(self.name, "stopped sending")

    def await_return(self, delay_s: float) -> None:
        """UDP has no connection to try: a sender that was silent and sends again ends the wait."""
        if self.address.kind is not SourceKind.UDP:
            super().await_return(delay_s)
            return
        until = time.monotonic() + delay_s
        with suppress(OSError, UnicodeError):
            if not await_datagram(self.address, min(until, time.monotonic() + PROBE_EVERY_S), self.stop):
                await_datagram(self.address, until, self.stop)
                return
        self.stop.wait(max(0.0, until - time.monotonic()))

    def _await_sender(self) -> None:
        """Before FFmpeg, which would not heed ``stop``. Raises SourceError."""
        silence_s = min(base.OPEN_TIMEOUT_S, self.config.read_timeout_s)
        try:
            comes = await_datagram(self.address, time.monotonic() + silence_s, self.stop)
        except (OSError, UnicodeError) as error:
            if reason := UDP_REASONS.get(getattr(error, "errno", None) or 0):
                raise SourceUnreachable(self.name, reason) from None
            raise super().explain(error, opening=True, elapsed_s=0.0) from None
        if not comes:
            raise SourceUnreachable(self.name, f"nobody has sent anything for {silence_s:g} s")
