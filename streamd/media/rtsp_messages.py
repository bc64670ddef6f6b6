"""RTSP on a TCP connection (RFC 2326): messages, and RTP in frames that begin with ``$`` between them.

What is written is made anew from what was understood, so that two readers cannot understand it differently.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

MAX_HEAD = 64 * 1024
MAX_BODY = 1024 * 1024
_MIN_FRAME = 8
"""Bytes of the shortest RTCP packet. FFmpeg takes what is in a shorter frame for text."""
_RESPONSE = re.compile(rb"RTSP/\d\.\d +(?P<status>\d{3})( .*)?", re.DOTALL)
_REQUEST = re.compile(rb"(?P<method>[A-Z_]{1,32}) +(?P<uri>[^ ]+) +RTSP/\d\.\d", re.DOTALL)
_HEADER = re.compile(rb"(?P<name>[A-Za-z][A-Za-z0-9-]*)[ \t]*:[ \t]*(?P<value>.*)", re.DOTALL)
_END = re.compile(rb"\n\r*\n")
"""Of a head. Were ``\\r*`` in front, a run of ``\\r`` would take the square of its length."""


class NotRtsp(ValueError):
    """What came is no RTSP."""


@dataclass
class Message:
    start: bytes
    """The first line."""
    headers: list[tuple[str, bytes]]
    """Names as they were written; without Content-Length."""
    body: bytes = b""

    @property
    def status(self) -> int | None:
        """None: it is a request."""
        found = _RESPONSE.fullmatch(self.start)
        return int(found["status"]) if found else None

    @property
    def request(self) -> tuple[str, str] | None:
        """Method and URI; None: it is a response."""
        found = _REQUEST.fullmatch(self.start)
        return (found["method"].decode(), found["uri"].decode("latin-1")) if found else None

    def all(self, name: str) -> list[bytes]:
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def get(self, name: str) -> bytes:
        """The last one, as FFmpeg takes it; empty when there is none."""
        return self.all(name)[-1] if self.all(name) else b""

    def without(self, *names: str) -> list[tuple[str, bytes]]:
        unwanted = {name.lower() for name in names}
        return [(key, value) for key, value in self.headers if key.lower() not in unwanted]

    def set(self, name: str, value: bytes) -> None:
        self.headers = [*self.without(name), (name, value)]

    def __bytes__(self) -> bytes:
        lines = [self.start, *(key.encode() + b": " + value for key, value in self.headers)]
        if self.body:
            lines.append(b"Content-Length: %d" % len(self.body))
        return b"\r\n".join([*lines, b"", self.body])


@dataclass
class Reader:
    """Cuts a stream of bytes; one per direction."""

    max_head: int = MAX_HEAD
    """Bytes, as ``max_body``."""
    max_body: int = MAX_BODY
    _rest: bytes = field(default=b"", init=False)
    _needed: int = field(default=0, init=False)
    """Bytes of the message that has begun, once its head is here: it is not read again for each part of the body."""

    def read(self, data: bytes) -> Iterator[Message | bytes]:
        """What is complete by now: messages, and frames as many together as there are. Raises NotRtsp."""
        self._rest = data if not self._rest else self._rest + data
        while self._rest and len(self._rest) >= self._needed:
            if self._rest[0] == 0x24:
                unit: Message | bytes | None = self._frames()
            else:
                unit = self._message()
            if unit is None:
                return
            if unit:
                yield unit

    def _frames(self) -> bytes | None:
        """Empty for those that are too short."""
        rest, start, end = self._rest, 0, 0
        while end + 4 <= len(rest) and rest[end] == 0x24:
            size = rest[end + 2] << 8 | rest[end + 3]
            if end + 4 + size > len(rest) or (size < _MIN_FRAME and end > start):
                break
            end += 4 + size
            if size < _MIN_FRAME:
                start = end
                break
        if not end:
            return None
        self._rest = rest[end:]
        return rest[start:end]

    def _message(self) -> Message | None:
        rest = self._rest = self._rest.lstrip(b"\r\n")
        found = _END.search(rest)
        if found is None:
            if len(rest) > self.max_head or (len(rest) > 16 and not re.match(rb"RTSP/|[A-Z_]+ ", rest)):
                raise NotRtsp
            return None
        message = _parsed(rest[: found.start()])
        length = message.get("Content-Length") or b"0"
        if not re.fullmatch(rb"\d{1,7} *", length) or int(length) > self.max_body:
            raise NotRtsp
        end = found.end() + int(length)
        self._needed = end if len(rest) < end else 0
        if self._needed:
            return None
        self._rest = rest[end:]
        return Message(message.start, message.without("Content-Length"), rest[found.end() : end])


def _parsed(head: bytes) -> Message:
    start, *lines = head.replace(b"\r", b"").replace(b"\0", b"").split(b"\n")
    found = [_HEADER.fullmatch(line) for line in lines]
    message = Message(start, [(each["name"].decode(), each["value"]) for each in found if each])
    if message.status is None and message.request is None:
        raise NotRtsp
    return message
