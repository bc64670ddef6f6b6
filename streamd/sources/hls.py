"""HLS: which of its qualities is played, and what FFmpeg asks for while it plays it."""

from __future__ import annotations

import http.client
import io
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from urllib.parse import urljoin

from streamd.errors import SourceError, SourceRejected, SourceUnreachable, SourceUnsupported
from streamd.sources.base import ACCESS_REFUSED
from streamd.sources.body import Body
from streamd.sources.budget import MIB, OverBudget
from streamd.sources.connection import Interrupted
from streamd.sources.fetch import HttpClient
from streamd.sources.hls_key import ClosableFile, Decrypted
from streamd.sources.playlist import (
    END,
    MAX_TEXT_BYTES,
    Playlist,
    Variables,
    best_first,
    has_ended,
    is_live,
    is_playlist,
    lists_segments,
    media_text,
    sections,
    variants,
)
from streamd.sources.segment import Undisguised, is_picture, skip

OPTIONS = {
    # FFmpeg asserts that connections to be used again are its own.
    "http_persistent": "0",
    "http_multiple": "0",
    # It may be called anything: what it is decides FFmpeg's list of formats, and where it is ``Destinations``.
    "extension_picky": "0",
    "allowed_extensions": "ALL",
    "allowed_segment_extensions": "ALL",
}
MAX_DEPTH = 3
"""Playlists that name playlists."""
MAX_TRIED = 8
"""Qualities and copies of them, when those before cannot be had."""
log = logging.getLogger(__name__)


class Gone(SourceUnreachable):
    """The server has it no more, or not for us."""


class HlsClient:
    """Requests for one HLS stream. One thread's."""

    def __init__(self, client: HttpClient, height: int | None) -> None:
        """``height`` is what the stream needs, px; None: all there is."""
        self._client, self._name = client, client.name
        self._height = height
        self._imported: Mapping[str, str] = {}
        """The variables of the master playlist."""
        self._latest: Playlist | None = None
        self.is_live = False
        self._lines: list[str] = []
        """Of the whole media playlist."""
        self._begin: int | None = None
        """The number of the first segment of the section that is played."""
        self._next: int | None = None
        """That of the section behind it."""
        self.failure: Exception | None = None
        """What an address failed with last."""
        self._refusal: SourceError | None = None
        """Why nothing more is opened: FFmpeg would go on with the next address, and keep only the last error."""

    def playlist(self, body: Body) -> Playlist | None:
        """What ``body`` is or, as a master playlist, leads to: the best quality of those that the height needs. Nothing
        else is asked for, but when that cannot be had. None: it is no playlist.

        Raises SourceError and, for what went wrong on the way, OSError, ValueError and HTTPException.
        """
        return self._followed(body, MAX_DEPTH) if is_playlist(body.peek()) else None

    def open(self, url: str, flags: int, options: Mapping[str, str]) -> ClosableFile | io.BytesIO:
        """What a playlist names. One that cannot be had is empty, and FFmpeg goes on with the next.

        Called by FFmpeg. Raises SourceError for what a camera may not name or send.
        """
        if self._refusal is not None:
            raise self._refusal
        try:
            with ExitStack() as on_error:
                file = self._opened(url, options, on_error)
                on_error.pop_all()
                return file
        except Interrupted:
            raise
        except (SourceRejected, SourceUnsupported) as error:
            self._refusal = error
        except (SourceError, OSError, UnicodeError, http.client.HTTPException) as error:
            self.failure = error
            # A server that cannot answer just now: FFmpeg, which would give up, finds nothing new and asks again.
            is_reload = self._latest is not None and url == self._latest.name and not isinstance(error, Gone)
            return self._latest.again() if self._latest and is_reload else io.BytesIO()
        except Exception:
            log.debug("an entry of a playlist", exc_info=True)
            self._refusal = SourceUnsupported(self._name, "has a playlist that cannot be read")
        raise self._refusal

    def _opened(self, url: str, options: Mapping[str, str], on_error: ExitStack) -> ClosableFile | io.BytesIO:
        is_encrypted = url.startswith(("crypto+", "crypto:"))
        first, end = int(options.get("offset", 0)), options.get("end_offset")
        body = self._client.get(url[7:] if is_encrypted else url, first if end else None, int(end) if end else None)
        on_error.callback(body.close)
        self._check_status(body)
        try:
            if first and body.status == 200:
                skip(body, first)
            if is_encrypted:
                return Decrypted(body, options.get("key", ""), options.get("iv", ""))
            if is_picture(body.peek()):
                return Undisguised(body)
        except ValueError as error:
            kind = "an encrypted segment" if is_encrypted else "a segment"
            raise SourceUnsupported(self._name, f"names {kind} that {error}") from None
        if not is_playlist(body.peek()):
            return body
        with closing(body):
            return self._media(self._lines_of(body, Variables(self._name, self._imported)), body.name)

    def _followed(self, body: Body, depth: int) -> Playlist:
        """The media playlist that ``body`` is or leads to in ``depth`` steps."""
        variables = Variables(self._name, self._imported)
        lines = self._lines_of(body, variables)
        qualities = variants(lines)
        if not qualities:
            self._check_begin(lines)
            self.is_live = is_live(lines)
            self._begin = sections(lines)[-1 if self.is_live else 0].begin
            return self._media(lines, body.name)
        if depth == 0:
            raise SourceUnsupported(self._name, "has playlists that lead to playlists without end")
        self._imported = variables.values
        failure: Exception = SourceUnsupported(self._name, "has no video")
        tried = best_first(qualities, self._height)[:MAX_TRIED]
        for left, variant in zip(reversed(range(len(tried))), tried, strict=True):
            try:
                with (
                    self._time_for_others(left),
                    closing(self._client.get(urljoin(body.name, variant.uri))) as inner,
                ):
                    return self._followed(self._check_status(inner), depth - 1)
            except (Interrupted, SourceRejected, SourceUnsupported):
                raise
            except (SourceError, OSError, http.client.HTTPException) as error:
                failure = error
        raise failure

    @contextmanager
    def _time_for_others(self, left: int) -> Iterator[None]:
        """Leaves half of the time to those that are ``left`` to try: a server that is away is silent."""
        budget, now_s = self._client.budget, time.monotonic()
        deadline_s = budget.deadline_s
        budget.deadline_s = now_s + (deadline_s - now_s) / 2 if left else deadline_s
        try:
            yield
        finally:
            budget.deadline_s = deadline_s

    def _check_status(self, body: Body) -> Body:
        """Raises SourceUnreachable."""
        if body.status in (200, 206):
            return body
        reason = ACCESS_REFUSED if body.status in (401, 403) else f"the server answers {body.status}"
        raise (SourceUnreachable if body.status >= 500 else Gone)(self._name, reason)

    def _lines_of(self, body: Body, variables: Variables) -> list[str]:
        """Of the playlist that ``body`` should be."""
        text = b""
        while data := body.read(MIB):
            text += data
            if len(text) > MAX_TEXT_BYTES:
                raise OverBudget(self._name, f"has a playlist of more than {MAX_TEXT_BYTES // MIB} MiB")
        if not is_playlist(text):
            raise SourceUnreachable(self._name, "names a playlist that is none")
        return list(variables.lines(text, body.name))

    def _check_begin(self, lines: list[str]) -> None:
        if all(line.startswith("#") for line in lines):
            raise SourceUnreachable(self._name, "has an empty playlist")
        if not lists_segments(lines):
            raise SourceUnsupported(self._name, "is a list of channels, not of segments: take the address of one")
        if has_ended(lines):
            raise SourceUnreachable(self._name, "has ended: its playlist names only what is left of it")

    def following(self) -> Playlist | None:
        """The next section, when FFmpeg has come to the end of this one; None: there is none, or something was
        refused."""
        if self._next is None or self._latest is None or self._refusal is not None:
            return None
        self._begin = self._next
        return self._media(self._lines, self._latest.name)

    def _media(self, lines: list[str], url: str) -> Playlist:
        """The section that is played. Behind it FFmpeg finds an end."""
        self._lines, shown, self._next = lines, list[str](), None
        for section in sections(lines):
            if self._begin is None or section.begin <= self._begin or not shown:
                shown = section.lines
            else:
                self._next = section.begin
                break
        end = [END] if self._next is not None or not is_live(lines) else []
        self._latest = Playlist(url, media_text([*shown, *end], self._name))
        self._client.budget.spend(self._latest.listed_bytes)
        return self._latest
