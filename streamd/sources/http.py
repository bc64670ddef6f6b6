"""Video by HTTP: Motion JPEG, HLS, or a file on a web server."""

from __future__ import annotations

import http.client
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing, contextmanager

import av
import av.error

from streamd.errors import SourceEnded, SourceError, SourceRejected, SourceUnreachable, SourceUnsupported
from streamd.sources import base, hls
from streamd.sources.fetch import Body, HttpClient
from streamd.sources.file import Pace
from streamd.sources.formats import MEDIA_FORMATS
from streamd.sources.network import NetworkSource
from streamd.sources.playlist import Playlist

_FORMATS = {
    "multipart/x-mixed-replace": "mpjpeg",
}
"""By the type that the server names; else FFmpeg detects it from the content."""
_OPTIONS = {
    # All goes through ``io_open``; what would not, such as RTP named in an SDP, finds no protocol.
    "protocol_whitelist": "none",
}


class HttpSource(NetworkSource):
    _hls: hls.HlsClient
    """Of the answer that is open."""

    def frames(self) -> Generator[av.VideoFrame]:
        with self._answer() as (client, file, format):
            options = _OPTIONS | {"format_whitelist": f"{MEDIA_FORMATS},{format}" if format else MEDIA_FORMATS}
            options |= hls.OPTIONS if format == "hls" else {}
            with self.opened(file, format=format, options=options, io_open=self._hls.open) as container:
                client.await_picture()
                ends = container.duration is not None
                # Both come in bursts, as fast as the line is. Motion JPEG and the like come as they are filmed.
                paced = self.config.realtime and (ends or container.format.name.startswith("hls"))
                pace = Pace() if paced else None
                for picture in self.decoded(container):
                    if pace and self.stop.wait(pace.delay(picture)):
                        return
                    yield picture
                    client.await_picture()
        if not ends and not self.stop.is_set():
            raise SourceEnded(self.name, "stopped sending")

    @contextmanager
    def _answer(self) -> Iterator[tuple[HttpClient, Body | Playlist, str | None]]:
        """What the address gives, with FFmpeg's name of its format; None: FFmpeg finds out."""
        started = time.monotonic()
        deadline_s = started + base.OPEN_TIMEOUT_S
        login = self.credentials()
        client = HttpClient(self.address, self.name, login, self.stop, self.config.read_timeout_s, deadline_s)
        self._hls = hls.HlsClient(client, self.config.height)
        with ExitStack() as stack:
            try:
                body = stack.enter_context(closing(client.get(self.address.url())))
                self._check_status(body)
                playlist = self._hls.playlist(body)
            except (OSError, ValueError, http.client.HTTPException) as error:
                raise self.explain(error, opening=True, elapsed_s=time.monotonic() - started) from None
            yield client, playlist or body, "hls" if playlist else _FORMATS.get(body.content_type)

    def _check_status(self, body: Body) -> None:
        if body.status in (401, 403):
            raise SourceRejected(self.name, base.ACCESS_REFUSED)
        if body.status in (404, 410):
            raise SourceUnreachable(self.name, "not found")
        if body.status not in (200, 206):
            raise SourceUnreachable(self.name, f"the server answers {body.status}")
        if body.content_type == "application/dash+xml" or b"<MPD" in body.peek():
            raise SourceUnsupported(self.name, "is DASH, which streamd cannot read: take its HLS or RTSP address")

    def explain(self, error: Exception, *, opening: bool, elapsed_s: float) -> SourceError:
        if isinstance(error, http.client.HTTPException):
            return SourceUnreachable(self.name, "does not answer as HTTP does")
        if not opening and self._hls.failure is not None and isinstance(error, av.error.FFmpegError):
            return SourceEnded(self.name, "stopped sending")
        described = super().explain(error, opening=opening, elapsed_s=elapsed_s)
        if opening and isinstance(described, SourceUnsupported) and isinstance(self._hls.failure, SourceUnreachable):
            return self._hls.failure  # no segment could be had
        return described
