"""Errors over HTTP: the status and the code of the contract, always as JSON."""

from __future__ import annotations

import json

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from streamd.errors import (
    Busy,
    ConfigError,
    DiskFull,
    EncodeError,
    InferenceFailed,
    ModelMissing,
    NoWebRtc,
    OfferRejected,
    PictureError,
    Problem,
    StreamdError,
    UsageError,
    ViewersFull,
)
from streamd.states import WorkerEnd
from streamd.web.errors import MAX_MESSAGE, Refusal, json_errors, note_beginning, response_for

TABLE = [
    (UsageError("view x: unknown"), 422, "bad_value", "view x: unknown"),
    (ConfigError([Problem("a", "1", "bad")]), 422, "bad_value", "a: 1: bad"),
    (PictureError("is not a picture"), 422, "bad_picture", "is not a picture"),
    (OfferRejected("bad_offer", "no"), 400, "bad_offer", "no"),
    (OfferRejected("no_codec", "no"), 422, "no_codec", "no"),
    (ViewersFull(4), 503, "full", "all 4 viewer places are taken; try again"),
    (NoWebRtc(), 503, "no_webrtc", str(NoWebRtc())),
    (Busy("too many pictures wait already; try again"), 503, "busy", "busy: too many pictures wait already; try again"),
    (DiskFull("/r", 0), 503, "disk_full", "/r: recording stopped: 0.0 GB free"),
    (ModelMissing("m", "h"), 503, "not_ready", "model m: no weights on this machine: h"),
    (InferenceFailed(WorkerEnd.CRASHED, "x"), 503, "not_ready", "depth worker crashed: x"),
    (EncodeError("x"), 500, "failed", "x"),
    (Refusal(409, "not_running", "ended"), 409, "not_running", "ended"),
    (web.HTTPNotFound(), 404, "not_found", "404: Not Found"),
    (web.HTTPMethodNotAllowed("PUT", ["GET"]), 405, "method_not_allowed", "405: Method Not Allowed"),
    (web.HTTPUnsupportedMediaType(text="odd"), 415, "wrong_type", "odd"),
]


@pytest.mark.parametrize(("error", "status", "code", "message"), TABLE, ids=lambda value: type(value).__name__)
def test_each_has_its_status_and_code(
    error: Refusal | StreamdError | web.HTTPException, status: int, code: str, message: str
) -> None:
    response = response_for(error)
    assert response.status == status
    assert response.content_type == "application/json"
    assert json.loads(response.text or "") == {"error": {"code": code, "message": message}}
    if status == 503:
        assert int(response.headers["Retry-After"]) > 0


def test_headers_of_a_refusal_are_kept() -> None:
    assert response_for(web.HTTPMethodNotAllowed("PUT", ["GET"])).headers["Allow"] == "GET"
    assert response_for(Refusal(503, "x", "y", {"Retry-After": "9"})).headers["Retry-After"] == "9"


async def answered(error: Exception) -> web.StreamResponse:
    async def handler(request: web.Request) -> web.StreamResponse:
        raise error

    return await json_errors(make_mocked_request("GET", "/"), handler)


async def test_redirects_and_faults_of_our_own_pass() -> None:
    for error in (web.HTTPFound("/"), RuntimeError("ours")):
        with pytest.raises(type(error)):
            await answered(error)


async def test_the_rest_becomes_json() -> None:
    for error in (Refusal(404, "unknown_stream", "x"), web.HTTPNotFound(), Busy("x")):
        assert (await answered(error)).content_type == "application/json"


async def test_nothing_is_said_to_who_has_hung_up() -> None:
    assert (await answered(ConnectionResetError("Cannot write to closing transport"))).status == 200


async def test_an_error_after_the_head_cuts_the_answer_off() -> None:
    """Another head would be a part of the body."""
    request, begun = make_mocked_request("GET", "/"), web.StreamResponse()

    async def handler(_: web.Request) -> web.StreamResponse:
        await note_beginning(request, begun)
        raise Busy("x")

    assert await json_errors(request, handler) is begun
    assert request.transport is not None
    request.transport.abort.assert_called_once()  # type: ignore[attr-defined]


def test_a_message_is_not_as_long_as_what_caused_it() -> None:
    response = response_for(Refusal(422, "bad_value", "x" * 100_000))
    message = json.loads(response.body or b"")["error"]["message"]  # type: ignore[arg-type]
    assert len(message) == MAX_MESSAGE
