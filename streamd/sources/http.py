"""Video by HTTP: Motion JPEG, HLS, DASH, or a file on a web server."""

from __future__ import annotations

import http.client
import io
import logging
import threading
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import av
import av.error
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from streamd.config.sections import StreamConfig
from streamd.errors import SourceEnded, SourceError, SourceRejected, SourceUnreachable, SourceUnsupported
from streamd.sources import base
from streamd.sources.connection import Interrupted
from streamd.sources.fetch import Body, HttpClient, Text
from streamd.sources.file import Pace
from streamd.sources.formats import MEDIA_FORMATS
from streamd.sources.hls_key import Decrypted
from streamd.sources.network import NetworkSource
from streamd.sources.steady import steadied
from streamd.sources.timeline import Timeline

_FORMATS = {
    "multipart/x-mixed-replace": "mpjpeg",
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

    def frames(self) -> Generator[av.VideoFrame]:
        self._failure = self._refusal = None
        with self._answer() as (client, file, format):
            options = _OPTIONS | {"format_whitelist": f"{MEDIA_FORMATS},{format}" if format else MEDIA_FORMATS}
            options |= _HLS_OPTIONS if format == "hls" else {}

            def io_open(url: str, flags: int, options: Mapping[str, str]) -> Opened:
                return self._open_listed(client, url, options)

            with self.opened(file, format=format, options=options, io_open=io_open) as container:
                client.await_picture()
                ends = container.duration is not None
                pictures = self.decoded(container)
                pace = Pace() if self._is_paced(container) else None
                for picture in steadied(pictures) if pace else pictures:
                    if pace and self.stop.wait(pace.delay(picture)):
                        return
                    yield picture
                    client.await_picture()
        if not ends and not self.stop.is_set():
            raise SourceEnded(self.name, "stopped sending")

    def packets(self, container: InputContainer, stream: VideoStream) -> Iterator[Packet[Any]]:
        packets = super().packets(container, stream)
        return Timeline(container).placed(packets) if self._is_paced(container) else packets

    def _is_paced(self, container: InputContainer) -> bool:
        """Files and HLS come in bursts, as fast as the line is. Motion JPEG and the like come as they are filmed."""
        return self.config.realtime and (container.duration is not None or container.format.name.startswith("hls"))

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
