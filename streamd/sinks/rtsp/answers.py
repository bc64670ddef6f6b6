"""What the server says: statuses of RFC 2326, and requests that it refuses."""

from __future__ import annotations

from streamd.media.rtsp_messages import Message

REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    451: "Parameter Not Understood",
    453: "Not Enough Bandwidth",
    454: "Session Not Found",
    455: "Method Not Valid in This State",
    461: "Unsupported Transport",
    501: "Not Implemented",
    503: "Service Unavailable",
    505: "RTSP Version Not Supported",
    551: "Option Not Supported",
}
Headers = list[tuple[str, bytes]]


class Refused(Exception):
    """Ends a request with this status."""

    def __init__(self, status: int, *headers: tuple[str, bytes]) -> None:
        self.status, self.headers = status, list(headers)
        super().__init__(REASONS[status])


def answer(status: int, headers: Headers | None = None, body: bytes = b"") -> Message:
    return Message(f"RTSP/1.0 {status} {REASONS[status]}".encode(), headers or [], body)
