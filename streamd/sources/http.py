"""Video by HTTP: Motion JPEG, HLS, DASH, or a file on a web server."""

from __future__ import annotations

import http.client
import io
import threading
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing, contextmanager

import av
import av.error

from streamd.config.sections import StreamConfig
from streamd.errors import SourceEnded, SourceError, SourceRejected, SourceUnreachable
from streamd.sources import base
from streamd.sources.connection import Interrupted
from streamd.sources.fetch import Answer, Fetcher
from streamd.sources.file import Pace
from streamd.sources.formats import MEDIA_FORMATS
from streamd.sources.hls_key import Decrypted
from streamd.sources.network import NetworkSource

_FORMATS = {
    "multipart/x-mixed-replace": "mpjpeg",
    "application/vnd.apple.mpegurl": "hls",
    "application/x-mpegurl": "hls",
    "audio/mpegurl": "hls",
    "audio/x-mpegurl": "hls",
    "application/dash+xml": "dash",
}
"""By the type that the server names; else FFmpeg detects it from the content."""
_OPTIONS = {
    "format_whitelist": f"{MEDIA_FORMATS},hls,dash",
    # All goes through ``io_open``; what would not, such as RTP named in an SDP, finds no protocol.
    "protocol_whitelist": "none",
}
_HLS_OPTIONS = {"http_persistent": "0", "http_multiple": "0"}
"""FFmpeg asserts that connections to be used again are its own."""


class HttpSource(NetworkSource):
    def __init__(self, config: StreamConfig, stop: threading.Event, threads: int = 1) -> None:
        super().__init__(config, stop, threads)
        self._failure: Exception | None = None
        """What an address of a playlist failed with last."""

    _failure: Exception | None
    """What an address of a playlist failed with last."""

    def frames(self) -> Generator[av.VideoFrame]:
        self._failure = None
        with self._answer() as (fetcher, answer):
            format = _format(answer)
            options = _OPTIONS | (_HLS_OPTIONS if format == "hls" else {})

            def io_open(url: str, flags: int, options: Mapping[str, str]) -> Answer | Decrypted | io.BytesIO:
                return self._open_listed(fetcher, url, options)

            with self.opened(answer, format=format, options=options, io_open=io_open) as container:
                fetcher.finish_opening()
                answer.finish_opening()
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

    @contextmanager
    def _answer(self) -> Iterator[tuple[Fetcher, Answer]]:
        started = time.monotonic()
        deadline_s = started + base.OPEN_TIMEOUT_S
        login = self.credentials()
        fetcher = Fetcher(self.address, self.name, login, self.stop, self.config.read_timeout_s, deadline_s)
        try:
            answer = fetcher.get(self.address.url())
        except (OSError, UnicodeError, http.client.HTTPException) as error:
            raise self.described(error, opening=True, elapsed_s=time.monotonic() - started) from None
        with closing(answer):
            if answer.status in (401, 403):
                raise SourceRejected(self.name, base.ACCESS_REFUSED)
            if answer.status in (404, 410):
                raise SourceUnreachable(self.name, "not found")
            if answer.status not in (200, 206):
                raise SourceUnreachable(self.name, f"the server answers {answer.status}")
            yield fetcher, answer

    def _open_listed(self, fetcher: Fetcher, url: str, options: Mapping[str, str]) -> Answer | Decrypted | io.BytesIO:
        """What a playlist names. One that cannot be had is empty, and FFmpeg goes on with the next.

        Raises SourceRejected for what a camera may not name.
        """
        is_encrypted = url.startswith(("crypto+", "crypto:"))
        first, end = options.get("offset"), options.get("end_offset")
        try:
            answer = fetcher.get(
                url[7:] if is_encrypted else url, int(first) if first else None, int(end) if end else None
            )
            if answer.status not in (200, 206):
                answer.close()
                raise SourceUnreachable(self.name, f"the server answers {answer.status}")
        except (SourceRejected, Interrupted):
            raise
        except (SourceError, OSError, UnicodeError, http.client.HTTPException) as error:
            self._failure = error
            return io.BytesIO()
        return Decrypted(answer, options["key"], options["iv"]) if is_encrypted else answer

    def described(self, error: Exception, *, opening: bool, elapsed_s: float) -> SourceError:
        if isinstance(error, http.client.HTTPException):
            return SourceUnreachable(self.name, "does not answer as HTTP does")
        if not opening and self._failure is not None and isinstance(error, av.error.FFmpegError):
            return SourceEnded(self.name, "stopped sending")
        return super().described(error, opening=opening, elapsed_s=elapsed_s)


def _format(answer: Answer) -> str | None:
    """FFmpeg's name; None: it finds out."""
    if answer.peek().startswith(b"#EXTM3U"):
        return "hls"
    return _FORMATS.get(answer.content_type)
