"""Video by HTTP: Motion JPEG, snapshots, HLS, or a file on a web server."""

from __future__ import annotations

import http.client
import math
import re
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import av
import av.error
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from streamd.errors import SourceEnded, SourceError, SourceRejected, SourceUnreachable, SourceUnsupported
from streamd.sources import base, hls
from streamd.sources.body import Body, CannotSkip
from streamd.sources.fetch import HttpClient
from streamd.sources.file import Pace
from streamd.sources.film import Film, TimedPicture
from streamd.sources.formats import MEDIA_FORMATS
from streamd.sources.http_pictures import RETRY_S, HttpPictures, has_pictures, poll_interval_s
from streamd.sources.network import NetworkSource
from streamd.sources.one_way import OneWay
from streamd.sources.playlist import Playlist
from streamd.sources.steady import steadied
from streamd.sources.timeline import FORWARD_S, Timeline

_OPTIONS = {
    # All goes through ``io_open``; what would not, such as RTP named in an SDP, finds no protocol.
    "protocol_whitelist": "none",
}
_PAGE = re.compile(rb"(\xef\xbb\xbf)?\s*(<(!doctype|html|head|body|script|\?xml|!--)|[{\[]\s*[\"{])", re.IGNORECASE)
"""HTML, XML or JSON."""
DASH = "is DASH, which streamd cannot read: take its HLS or RTSP address"


class HttpSource(NetworkSource):
    _hls: hls.HlsClient
    """Of the answer that is open."""
    _may_skip = True
    _is_file = False
    """Played by its own clock."""

    def frames(self) -> Generator[av.VideoFrame]:
        newest_s = None
        while not self.stop.is_set():
            asked_s = time.monotonic()
            try:
                if not (yield from self._frames()):
                    return
                newest_s = time.monotonic()
            except CannotSkip:  # many files can be played all the same
                if not self._may_skip:
                    raise
                self._may_skip = False
                continue
            except (SourceEnded, SourceUnreachable, SourceUnsupported):
                if newest_s is None or time.monotonic() - newest_s > self.config.read_timeout_s:
                    raise
            due_s = asked_s + poll_interval_s(self.config.max_fps, self.config.read_timeout_s)
            self.stop.wait(max(RETRY_S if newest_s is None else 0.0, due_s - time.monotonic()))

    def _frames(self) -> Generator[av.VideoFrame, None, bool]:
        """Those of one answer. Gives whether it was a snapshot in a format of FFmpeg's, such as BMP, to be asked for
        again."""
        with self._answer() as (client, answer):
            if isinstance(answer, Body):
                if has_pictures(answer):
                    yield from self._pictures(client, answer)
                    return False
                self._check_content(answer)
                return (yield from self._file(client, answer))
            yield from self._sections(client, answer)
            return False

    def _file(self, client: HttpClient, body: Body) -> Generator[av.VideoFrame, None, bool]:
        """As ``_frames``."""
        count, is_picture = 0, body.content_type.startswith("image/")
        file: Body | OneWay = body if self._may_skip and body.seekable() else OneWay(self.name, body)
        options = _OPTIONS | {"format_whitelist": MEDIA_FORMATS}
        with self.opened(file, options=options, io_open=self._hls.open) as container:
            is_picture = is_picture or container.format.name.endswith(("gif", "_pipe"))
            ends = container.duration is not None or body.length is not None
            self._is_file = ends and self.config.realtime
            # It comes in bursts, as fast as the line is. What is live comes as it is filmed.
            for picture in self._paced(container, client, Pace() if self._is_file else None):
                count += 1
                yield picture
        is_snapshot = is_picture and count == 1
        if not (ends or is_snapshot or self.stop.is_set()):
            raise SourceEnded(self.name, "stopped sending")
        return is_snapshot

    def _sections(self, client: HttpClient, first: Playlist) -> Iterator[av.VideoFrame]:
        """Those of HLS. A section that cannot be had is passed over, when there is another."""
        options = _OPTIONS | hls.OPTIONS | {"format_whitelist": f"{MEDIA_FORMATS},hls"}
        is_live = self._hls.is_live
        self._is_file = self.config.realtime and not is_live
        pace = Pace(FORWARD_S if is_live else math.inf) if self.config.realtime else None
        section: Playlist | None = first
        while section is not None and not self.stop.is_set():
            try:
                with self.opened(section, format="hls", options=options, io_open=self._hls.open) as container:
                    yield from self._paced(container, client, pace)
                section = self._hls.following()
            except (SourceEnded, SourceUnreachable, SourceUnsupported):
                section = self._hls.following()
                if section is None:
                    raise
            options["live_start_index"] = "0"  # where the last one ended
            if pace:
                pace.restart()
        if is_live and not self.stop.is_set():
            raise SourceEnded(self.name, "stopped sending")

    def _paced(self, container: InputContainer, client: HttpClient, pace: Pace | None) -> Iterator[av.VideoFrame]:
        client.await_picture()
        pictures = self.decoded(container)
        for picture in steadied(pictures) if self._is_file else pictures:  # nothing is held back of what is live
            if pace and self.stop.wait(pace.delay(picture)):
                return
            yield picture
            client.await_picture()

    def _check_content(self, body: Body) -> None:
        """Raises SourceUnsupported for what can be told without FFmpeg."""
        head = body.peek()
        if not head:
            raise SourceUnsupported(self.name, "sends an empty answer")
        if _PAGE.match(head):
            raise SourceUnsupported(self.name, "sends a page, not video: take the address of the video itself")

    def packets(self, container: InputContainer, stream: VideoStream) -> Iterator[Packet[Any]]:
        packets = super().packets(container, stream)
        return Timeline(container).placed(packets) if self._is_file else packets

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
        pace = Pace() if self.config.realtime and pictures.is_file else None
        coming: Iterator[TimedPicture] | None = iter(pictures)
        while coming is not None and not self.stop.is_set():
            film = Film(first.name, coming)
            for picture in self._of_film(film):
                client.await_picture()
                if pace and self.stop.wait(pace.delay(picture)):
                    return
                yield picture
                client.await_picture()
            coming = film.following()

    def _of_film(self, film: Film) -> Iterator[av.VideoFrame]:
        options = _OPTIONS | {"format_whitelist": "ivf", "fpsprobesize": "0"}
        with self.opened(film, format="ivf", options=options) as container:
            for stream in container.streams.video:
                # A cut JPEG is an error; else its rest would be gray.
                stream.codec_context.options = {"err_detect": "explode"}
            yield from self.decoded(container)

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
    def _answer(self) -> Iterator[tuple[HttpClient, Body | Playlist]]:
        """What the address gives."""
        started = time.monotonic()
        deadline_s = started + base.OPEN_TIMEOUT_S
        login = self.credentials()
        client = HttpClient(self.address, self.name, login, self.stop, self.config.read_timeout_s, deadline_s)
        self._hls = hls.HlsClient(client, self.config.height)
        with ExitStack() as stack:
            try:
                body = stack.enter_context(closing(client.get(self.address.url())))
                self._check_status(body)
                if body.content_type == "application/dash+xml" or b"<MPD" in body.peek():
                    raise SourceUnsupported(self.name, DASH)
                playlist = self._hls.playlist(body)
            except (OSError, ValueError, http.client.HTTPException) as error:
                raise self.explain(error, opening=True, elapsed_s=time.monotonic() - started) from None
            yield client, playlist or body

    def _check_status(self, body: Body) -> None:
        if body.status in (401, 403):
            raise SourceRejected(self.name, base.ACCESS_REFUSED)
        if body.status in (404, 410):
            raise SourceUnreachable(self.name, "not found")
        if body.status not in (200, 206):
            raise SourceUnreachable(self.name, f"the server answers {body.status}")

    def explain(self, error: Exception, *, opening: bool, elapsed_s: float) -> SourceError:
        if isinstance(error, http.client.HTTPException):
            return SourceUnreachable(self.name, "does not answer as HTTP does")
        if not opening and self._hls.failure is not None and isinstance(error, av.error.FFmpegError):
            return SourceEnded(self.name, "stopped sending")
        described = super().explain(error, opening=opening, elapsed_s=elapsed_s)
        if opening and isinstance(described, SourceUnsupported) and isinstance(self._hls.failure, SourceUnreachable):
            return self._hls.failure  # no segment could be had
        return described
