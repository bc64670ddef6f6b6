"""The body of an answer by HTTP, as PyAV reads a file."""

from __future__ import annotations

import http.client
import re
from collections.abc import Callable

from streamd.errors import SourceEnded, SourceUnsupported
from streamd.sources.connection import Connection
from streamd.sources.inflated import ENCODINGS, Inflated, Stream

CANNOT_SKIP = "the server cannot skip (no byte ranges)"
ENDLESS_BYTES = 1 << 40
"""Servers of live video that must name a length name such."""


class CannotSkip(SourceUnsupported):
    """A server said that it gives any part of a file, and does not."""


class Body:
    """Seeking asks again, from there on, at the next read."""

    def __init__(
        self,
        camera: str,
        name: str,
        response: http.client.HTTPResponse,
        connection: Connection,
        position: int,
        again: Callable[[int], Body],
        spend: Callable[[int], None],
    ) -> None:
        """``camera`` is for errors, ``again`` asks once more, from a byte on; ``spend`` is told what is unpacked."""
        self._camera, self._again = camera, again
        self._response, self._connection = response, connection
        encoding = response.getheader("Content-Encoding", "").strip().lower()
        self._stream: Stream = Inflated(response, spend) if encoding in ENCODINGS else response
        self.name = name
        """Where it came from in the end: what is relative in it is relative to that. Without a login."""
        self._position = self._wanted = self._first(response, position) if response.status == 206 else 0
        self.length = self._total(response) if self._stream is response else None
        is_part = response.status == 206
        self._has_failed = False
        self._can_seek = self.length is not None and (
            is_part or response.getheader("Accept-Ranges", "").strip().lower() == "bytes"
        )

    @property
    def status(self) -> int:
        return self._response.status

    @property
    def content_type(self) -> str:
        """In small letters, without its parameters."""
        return self._response.getheader("Content-Type", "").partition(";")[0].strip().lower()

    def peek(self) -> bytes:
        """Some of what comes first."""
        return self._stream.peek(64)

    @property
    def is_dry(self) -> bool:
        """Whether the next read would wait, or need not: a little may be there already."""
        return self._connection.is_dry

    def read(self, size: int) -> bytes:
        """What is there, at least a byte; nothing at the end, and after an error: FFmpeg reads on, and PyAV raises the
        first one. Raises SourceError, TimeoutError, Interrupted."""
        if self._has_failed:
            return b""
        self._has_failed = True
        data = self._read(size)
        self._has_failed = False
        return data

    def _read(self, size: int) -> bytes:
        try:
            if self._wanted != self._position:
                self._ask_again()
            data = self._stream.read1(size)
        except http.client.HTTPException:  # a chunk is cut off
            data = b""
            if self.length is None:
                raise SourceEnded(self._camera, "stopped sending") from None
        if len(data) > size:  # a chunk of a negative length; FFmpeg has no room for more
            raise SourceUnsupported(self._camera, "does not answer as HTTP does")
        if not data and self.length is not None and self._position < self.length:
            raise SourceEnded(self._camera, "stopped sending")
        self._position = self._wanted = self._position + len(data)
        return data

    def seekable(self) -> bool:
        return self._can_seek

    def seek(self, offset: int, whence: int = 0) -> int:
        base = (0, self._wanted, self.length or 0)[whence]
        self._wanted = max(0, base + offset)
        return self._wanted

    def tell(self) -> int:
        return self._wanted

    def close(self) -> None:
        self._response.close()
        self._connection.hang_up()

    def _ask_again(self) -> None:
        self.close()
        if self.length is not None and self._wanted >= self.length:
            self._response.read1(0)
            self._position = self._wanted
            return
        again = self._again(self._wanted)
        if again.status not in (200, 206):
            again.close()
            raise SourceEnded(self._camera, "stopped sending")
        if again._position != self._wanted or again._stream is not again._response:
            again.close()
            raise CannotSkip(self._camera, CANNOT_SKIP)
        self._response, self._connection, self._position = again._response, again._connection, self._wanted
        self._stream = again._stream

    @staticmethod
    def _first(response: http.client.HTTPResponse, asked: int) -> int:
        """Number of the first byte; as asked for when it is not said."""
        found = re.match(
            r"bytes\s+(\d{1,18})-", response.getheader("Content-Range", "").strip(), re.ASCII | re.IGNORECASE
        )
        return int(found[1]) if found else asked

    @staticmethod
    def _total(response: http.client.HTTPResponse) -> int | None:
        """Bytes of the whole, or of the part that was asked for; None when unknown."""
        total, count = response.getheader("Content-Range", "").rpartition("/")[2], response.length
        if response.status == 206 and total.isascii() and total.isdecimal():
            count = int(total[:18])
        return count if count is None or count < ENDLESS_BYTES else None
