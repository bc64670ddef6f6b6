"""Cameras that send pictures by HTTP: Motion JPEG in one answer, or one picture each time that they are asked."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator
from itertools import islice

from streamd.errors import SourceEnded, SourceStalled, SourceUnreachable, SourceUnsupported
from streamd.sources.body import Body
from streamd.sources.budget import MAX_BYTES
from streamd.sources.catchup import Backlog
from streamd.sources.film import TimedPicture, as_png
from streamd.sources.picture_scanner import CodedPicture, PictureKind, PictureScanner
from streamd.states import SkipReason

POLLS_PER_S = 1.0
"""When ``max_fps`` is unset."""
FILE_RATE_FPS = 25
RETRY_S = 0.1
"""The least between two polls when one has failed."""
READ_BYTES = 64 * 1024
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")
_HEADS = (b"--", b"content-")


def has_pictures(body: Body) -> bool:
    """Of the kinds that say where they end; by the type that the server names, or by what comes first: a picture, or a
    part's boundary or headers."""
    if body.content_type.startswith("multipart/"):
        return body.content_type != "multipart/byteranges"
    if "jpeg" in body.content_type or body.content_type in ("image/jpg", "image/png", "image/webp"):
        return True
    head = body.peek().lstrip(b"\r\n")
    is_webp = head.startswith(b"RIFF") and head[8:12] == b"WEBP"
    return is_webp or head.startswith(_SIGNATURES) or head.lower().startswith(_HEADS) or b"image/jpeg" in head.lower()


def poll_interval_s(max_fps: float | None, read_timeout_s: float) -> float:
    """Slower ones would count as silent; what is too fast for ``max_fps`` is left out by who gets it."""
    return min(1 / (max_fps or POLLS_PER_S), read_timeout_s / 3)


def _is_one(body: Body) -> bool:
    """By type and length: another picture in it is its preview, or for the other eye. Some name a length without
    end."""
    return body.length is not None and body.length <= MAX_BYTES and body.content_type.startswith("image/")


class HttpPictures:
    """The pictures of one answer after the other, with their times, s.

    An answer with a single picture that then ends is a snapshot: the camera is asked again, ``max_fps`` times a second.
    One with several is Motion JPEG, or a file of it when its length is known.
    """

    def __init__(
        self,
        name: str,
        first: Body,
        ask: Callable[[], Body],
        stop: threading.Event,
        *,
        max_fps: float | None,
        read_timeout_s: float,
        on_skip: Callable[[SkipReason], None],
    ) -> None:
        """``ask`` asks once more, and raises what it fails with."""
        self._name = name
        self._first, self._ask = first, ask
        self._stop = stop
        self._poll_s = poll_interval_s(max_fps, read_timeout_s)
        self._patience_s = read_timeout_s
        self._on_skip = on_skip
        self.is_file = first.length is not None and not first.content_type.startswith(("multipart/", "image/"))
        """Has an end, if it has several pictures; told by the first answer."""
        self._newest_s = time.monotonic()
        self._failure: Exception | None = None
        """Of the last poll."""

    def __iter__(self) -> Iterator[TimedPicture]:
        """Ends with a file, or on ``stop``. Raises SourceError, OSError and ValueError."""
        asked_s = time.monotonic()
        count = yield from self._of(self._first)
        if count == 0 and not self._stop.is_set():
            raise SourceUnsupported(self._name, "has no pictures that can be decoded")
        while count < 2:
            due_s = asked_s + (self._poll_s if count else max(self._poll_s, RETRY_S))
            if due_s - self._newest_s > self._patience_s:
                raise self._failure or SourceStalled(self._name, "sends no pictures that can be decoded")
            if self._stop.wait(max(0.0, due_s - time.monotonic())):
                return
            asked_s = time.monotonic()
            count = yield from self._poll()
        if not self.is_file and not self._stop.is_set():
            raise SourceEnded(self._name, "stopped sending")

    def _poll(self) -> Generator[TimedPicture, None, int]:
        """As ``_of``. What may pass is no failure yet."""
        self._failure = None
        try:
            return (yield from self._of(self._ask()))
        except (SourceEnded, SourceUnreachable, OSError) as error:
            self._failure = error
            return 0

    def _of(self, body: Body) -> Generator[TimedPicture, None, int]:
        """Those of one answer; gives their number."""
        count, began_s = 0, time.monotonic()
        pictures = filter(None, self._scanned(body)) if self.is_file else self._fresh(body)
        try:
            for coded in islice(pictures, 1 if _is_one(body) else None):
                picture = as_png(coded.data) if coded.kind is PictureKind.WEBP else coded
                if picture is None:
                    self._on_skip(SkipReason.CORRUPT)
                    continue
                count += 1
                self._newest_s = now_s = time.monotonic()
                yield picture, began_s + count / FILE_RATE_FPS if self.is_file else now_s
        except SourceEnded:
            if count != 1:  # a whole picture is one, however wrong its length was
                raise
        finally:
            body.close()
        return count

    def _fresh(self, body: Body) -> Iterator[CodedPicture]:
        """Without those that pile up while decoding does not keep up; always the newest."""
        backlog, held = Backlog(), None
        for picture in self._scanned(body):
            now_s = time.monotonic()
            if picture is None:
                backlog.note_dry(now_s)
            elif held is not None:
                self._on_skip(SkipReason.LATE)
            held = picture or held
            if held is not None and not backlog.is_late(now_s):
                yield held
                held = None

    def _scanned(self, body: Body) -> Iterator[CodedPicture | None]:
        """None: the next read may wait."""
        scanner, counted = PictureScanner(), 0
        while data := body.read(READ_BYTES):
            yield from scanner.feed(data)
            for _ in range(scanner.damaged - counted):
                self._on_skip(SkipReason.CORRUPT)
            counted = scanner.damaged
            if body.is_dry:
                yield None
        if (last := scanner.rest()) is not None:
            yield last
        yield None
