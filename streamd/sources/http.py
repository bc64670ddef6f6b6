"""Video by HTTP: Motion JPEG, snapshots, HLS, DASH, or a file on a web server."""

from __future__ import annotations

import http.client
import io
import logging
import threading
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager

import av
import av.error

from streamd.config.sections import StreamConfig
from streamd.errors import SourceEnded, SourceError, SourceRejected, SourceUnreachable, SourceUnsupported
from streamd.sources import base
from streamd.sources.connection import Interrupted
from streamd.sources.fetch import Body, CannotSkip, HttpClient, Text
from streamd.sources.file import Pace
from streamd.sources.film import Film
from streamd.sources.formats import MEDIA_FORMATS
from streamd.sources.hls_key import Decrypted
from streamd.sources.http_pictures import HttpPictures, has_pictures
from streamd.sources.network import NetworkSource
from streamd.sources.one_way import OneWay

_FORMATS = {
    "application/vnd.apple.mpegurl": "hls",
    "application/x-mpegurl": "hls",
    "audio/mpegurl": "hls",
    "audio/x-mpegurl": "hls",
    "application/dash+xml": "dash",
}
"""By the type that the server names; else FFmpeg detects it from the content."""
_PLAYLISTS = ("hls", "dash")
_OPTIONS = {
    # All goes through ``io_open``; what would not, such as RTP named in an SDP, finds no protocol.
    "protocol_whitelist": "none",
}
_HLS_OPTIONS = {"http_persistent": "0", "http_multiple": "0"}
"""FFmpeg asserts that connections to be used again are its own."""
Opened = Body | Decrypted | io.BytesIO
log = logging.getLogger(__name__)


class HttpSource(NetworkSource):
    def __init__(self, config: StreamConfig, stop: threading.Event, threads: int = 1) -> None:
        super().__init__(config, stop, threads)
        self._failure: Exception | None = None
        """What an address of a playlist failed with last."""
        self._refusal: SourceError | None = None
        """Why nothing more is opened: FFmpeg would go on with the next address, and keep only the last error."""
        self._may_skip = True

    def frames(self) -> Generator[av.VideoFrame]:
        try:
            yield from self._frames()
        except CannotSkip:  # many files can be played all the same
            self._may_skip = False
            yield from self._frames()

    def _frames(self) -> Generator[av.VideoFrame]:
        self._failure = self._refusal = None
        with self._answer() as (client, answer, format):
            if isinstance(answer, Body) and has_pictures(answer):
                yield from self._pictures(client, answer)
                return
            file: Body | OneWay | Text = answer
            length = None
            if isinstance(answer, Body):
                length = answer.length
                file = answer if self._may_skip and answer.seekable() else OneWay(self.name, answer)
            options = _OPTIONS | {"format_whitelist": f"{MEDIA_FORMATS},{format}" if format else MEDIA_FORMATS}
            options |= _HLS_OPTIONS if format == "hls" else {}

            def io_open(url: str, flags: int, options: Mapping[str, str]) -> Opened:
                return self._open_listed(client, url, options)

            with self.opened(file, format=format, options=options, io_open=io_open) as container:
                client.await_picture()
                ends = container.duration is not None or length is not None
                # Both come in bursts, as fast as the line is. What is live comes as it is filmed.
                paced = self.config.realtime and (ends or container.format.name.startswith("hls"))
                pace = Pace() if paced else None
                for picture in self.decoded(container):
                    if pace and self.stop.wait(pace.delay(picture)):
                        return
                    yield picture
                    client.await_picture()
        if not ends and not self.stop.is_set():
            raise SourceEnded(self.name, "stopped sending")

    def _pictures(self, client: HttpClient, first: Body) -> Iterator[av.VideoFrame]:
        pictures = HttpPictures(
            self.name,
            first,
            lambda: self._ask_again(client),
            self.stop,
            max_fps=self.config.max_fps,
            read_timeout_s=self.config.read_timeout_s,
            on_skip=self.on_skip,
        )
        options = _OPTIONS | {"format_whitelist": "ivf", "fpsprobesize": "0"}
        with self.opened(Film(first.name, iter(pictures), self.on_skip), format="ivf", options=options) as container:
            for stream in container.streams.video:
                # A cut JPEG is an error; else its rest would be gray.
                stream.codec_context.options = {"err_detect": "explode"}
            client.await_picture()
            pace = Pace() if self.config.realtime and pictures.is_file else None
            for picture in self.decoded(container):
                if pace and self.stop.wait(pace.delay(picture)):
                    return
                yield picture
                client.await_picture()

    def _ask_again(self, client: HttpClient) -> Body:
        """For one more picture. A slow answer is not waited for as long as silence may last: there is time for another
        try."""
        client.budget.renew(self.config.read_timeout_s / 2)
        try:
            body = client.get(self.address.url(), None)
        except http.client.HTTPException as error:
            raise self.explain(error, opening=True, elapsed_s=0.0) from None
        with ExitStack() as on_error:
            on_error.callback(body.close)
            self._check_status(body)
            on_error.pop_all()
        return body

    @contextmanager
    def _answer(self) -> Iterator[tuple[HttpClient, Body | Text, str | None]]:
        """What the address gives, with FFmpeg's name of its format; None: FFmpeg finds out."""
        started = time.monotonic()
        deadline_s = started + base.OPEN_TIMEOUT_S
        login = self.credentials()
        client = HttpClient(self.address, self.name, login, self.stop, self.config.read_timeout_s, deadline_s)
        with ExitStack() as stack:
            try:
                body = stack.enter_context(closing(client.get(self.address.url())))
                self._check_status(body)
                format = _playlist_format(body) or _FORMATS.get(body.content_type)
                file = body.text() if format in _PLAYLISTS else body
            except (OSError, ValueError, http.client.HTTPException) as error:
                raise self.explain(error, opening=True, elapsed_s=time.monotonic() - started) from None
            yield client, file, format

    def _check_status(self, body: Body) -> None:
        if body.status in (401, 403):
            raise SourceRejected(self.name, base.ACCESS_REFUSED)
        if body.status in (404, 410):
            raise SourceUnreachable(self.name, "not found")
        if body.status not in (200, 206):
            raise SourceUnreachable(self.name, f"the server answers {body.status}")

    def _open_listed(self, client: HttpClient, url: str, options: Mapping[str, str]) -> Opened:
        """What a playlist names. One that cannot be had is empty, and FFmpeg goes on with the next.

        Called by FFmpeg. Raises SourceError for what a camera may not name or send.
        """
        if self._refusal is not None:
            raise self._refusal
        try:
            with ExitStack() as on_error:
                file = self._opened_listed(client, url, options, on_error)
                on_error.pop_all()
                return file
        except Interrupted:
            raise
        except (SourceRejected, SourceUnsupported) as error:
            self._refusal = error
        except (SourceError, OSError, UnicodeError, http.client.HTTPException) as error:
            self._failure = error
            return io.BytesIO()
        except Exception:
            log.debug("an entry of a playlist", exc_info=True)
            self._refusal = SourceUnsupported(self.name, "has a playlist that cannot be read")
        raise self._refusal

    def _opened_listed(self, client: HttpClient, url: str, options: Mapping[str, str], on_error: ExitStack) -> Opened:
        is_encrypted = url.startswith(("crypto+", "crypto:"))
        first, end = options.get("offset"), options.get("end_offset")
        body = client.get(url[7:] if is_encrypted else url, int(first) if first else None, int(end) if end else None)
        on_error.callback(body.close)
        if body.status not in (200, 206):
            raise SourceUnreachable(self.name, f"the server answers {body.status}")
        if is_encrypted:
            try:
                return Decrypted(body, options.get("key", ""), options.get("iv", ""))
            except ValueError as error:
                raise SourceUnsupported(self.name, f"names an encrypted segment that {error}") from None
        if _playlist_format(body) is None:
            return body
        with closing(body):
            return body.text()

    def explain(self, error: Exception, *, opening: bool, elapsed_s: float) -> SourceError:
        if isinstance(error, http.client.HTTPException):
            return SourceUnreachable(self.name, "does not answer as HTTP does")
        if not opening and self._failure is not None and isinstance(error, av.error.FFmpegError):
            return SourceEnded(self.name, "stopped sending")
        return super().explain(error, opening=opening, elapsed_s=elapsed_s)


def _playlist_format(body: Body) -> str | None:
    """FFmpeg's name for what begins as a playlist does; None: it is none."""
    head = body.peek().lstrip(b"\xef\xbb\xbf\r\n\t ")
    if head.startswith(b"#EXTM3U"):
        return "hls"
    return "dash" if head.startswith((b"<?xml", b"<MPD")) else None
