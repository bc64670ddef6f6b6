"""Errors over HTTP: ``{"error": {"code": "...", "message": "..."}}`` with the right status."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web
from aiohttp.typedefs import Handler

from streamd.errors import (
    Busy,
    ConfigError,
    DepthError,
    DiskFull,
    MemoryShort,
    NoWebRtc,
    OfferRejected,
    PictureError,
    Stopping,
    StreamdError,
    StreamGone,
    UsageError,
    ViewersFull,
)
from streamd.web.streaming import cut_off

RETRY_AFTER_S = 5
MAX_MESSAGE = 4000
"""Characters: an answer that quotes a request must not be as long as the request may be."""

# The first that fits counts.
_STREAMD: tuple[tuple[type[StreamdError], int, str], ...] = (
    (UsageError, 422, "bad_value"),
    (ConfigError, 422, "bad_value"),
    (PictureError, 422, "bad_picture"),
    (ViewersFull, 503, "full"),
    (NoWebRtc, 503, "no_webrtc"),
    (Stopping, 503, "stopping"),
    (StreamGone, 404, "unknown_stream"),
    (Busy, 503, "busy"),
    (MemoryShort, 503, "memory_short"),
    (DiskFull, 503, "disk_full"),
    (DepthError, 503, "not_ready"),
    (StreamdError, 500, "failed"),
)
_BEGUN = web.RequestKey("begun", web.StreamResponse)
"""Of a request: its answer, once its head has gone out."""
_HTTP = {400: "bad_request", 413: "too_large", 415: "wrong_type", 422: "bad_value"}


class Refusal(Exception):
    """Raised by a handler to end the request with this error."""

    def __init__(self, status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> None:
        self.status, self.code, self.message, self.headers = status, code, message, headers
        super().__init__(message)


def error_response(status: int, code: str, message: str, headers: Mapping[str, str] | None = None) -> web.Response:
    if len(message) > MAX_MESSAGE:
        message = f"{message[: MAX_MESSAGE - 3]}..."
    return web.json_response({"error": {"code": code, "message": message}}, status=status, headers=headers)


def response_for(error: Refusal | StreamdError | web.HTTPException) -> web.Response:
    """The answer to a request that ended with ``error``. 503 has Retry-After."""
    if isinstance(error, Refusal):
        return error_response(error.status, error.code, error.message, error.headers)
    if isinstance(error, OfferRejected):
        return error_response(400 if error.code == "bad_offer" else 422, error.code, str(error))
    if isinstance(error, web.HTTPException):
        code = _HTTP.get(error.status, error.reason.lower().replace(" ", "_"))
        headers = {name: value for name, value in error.headers.items() if not name.startswith("Content-")}
        return error_response(error.status, code, error.text or error.reason, headers)
    status, code = next((status, code) for kind, status, code in _STREAMD if isinstance(error, kind))
    wait_s = error.retry_after_s if isinstance(error, MemoryShort) else RETRY_AFTER_S
    return error_response(status, code, str(error), {"Retry-After": str(wait_s)} if status == 503 else None)


async def note_beginning(request: web.Request, response: web.StreamResponse) -> None:
    """Before the headers go out."""
    request[_BEGUN] = response


def _answer(request: web.Request, response: web.Response) -> web.StreamResponse:
    """This one; but where another has begun its head would be taken for a part of the body: that one is cut off."""
    begun: web.StreamResponse | None = request.get(_BEGUN)
    if begun is None:
        return response
    cut_off(request)
    return begun


@web.middleware
async def json_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Makes every refusal JSON. Redirects pass, and faults of our own stay a logged 500."""
    try:
        return await handler(request)
    except web.HTTPException as error:
        if error.status < 400:
            raise
        return _answer(request, response_for(error))
    except web.RequestPayloadError:
        return _answer(request, error_response(400, "bad_request", "the body is not encoded as its headers declare"))
    except (Refusal, StreamdError) as error:
        return _answer(request, response_for(error))
    except ConnectionResetError:  # it has hung up: aiohttp would log a traceback, and nobody hears an answer
        return _answer(request, web.Response())
