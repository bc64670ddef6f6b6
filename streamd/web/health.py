"""Health, readiness and metrics, for monitoring."""

from __future__ import annotations

from aiohttp import web

from streamd.states import ModelState
from streamd.web.context import CONTEXT, WebContext
from streamd.web.errors import RETRY_AFTER_S
from streamd.web.exposition import Exposition
from streamd.web.parameters import Choice
from streamd.web.routes import Route
from streamd.web.schemas import TEXT, json_content, listing, record, reference
from streamd.web.tokens import Scope

EXPOSITION = web.AppKey("exposition", Exposition)
STATUS = json_content(record({"status": TEXT}))
READY = json_content(record({"status": TEXT, "reasons": listing(TEXT)}))
STRICT = Choice("strict", ("0", "1"), "0", "1: a stream that is away counts too")


async def healthz(request: web.Request) -> web.Response:
    """The loop answers, so it lives; and a supervisor that died would have ended the process."""
    return web.json_response({"status": "ok"})


async def readyz(request: web.Request) -> web.Response:
    """200 when the model is ready and the streams are served. A stream that is away counts with ``strict`` only."""
    context = request.app[CONTEXT]
    faults, absences = _faults(context), _absences(context)
    reasons = [*faults, *absences]
    if not (reasons if STRICT.read(request) == "1" else faults):
        return web.json_response({"status": "ready", "reasons": reasons})
    error = {"code": "not_ready", "message": "; ".join(reasons)}
    headers = {"Retry-After": str(RETRY_AFTER_S)}
    return web.json_response({"error": error, "reasons": reasons}, status=503, headers=headers)


def _faults(context: WebContext) -> list[str]:
    """Why the daemon is not ready."""
    faults = ["stopping"] if context.streams.stopping else []
    status = context.service.status
    if status.state not in (ModelState.READY, ModelState.IDLE):
        faults.append(f"model: {status.message or status.state}")
    if context.streams.stuck:
        faults.append("streams: all get pictures and publish none")
    return faults


def _absences(context: WebContext) -> list[str]:
    """Streams that have no picture, but should."""
    statuses = [stream.status for stream in context.streams.values()]
    return [
        f"stream {status.name}: {status.state}" + (f": {status.reason}" if status.reason else "")
        for status in statuses
        if not status.is_settled
    ]


async def metrics(request: web.Request) -> web.Response:
    context = request.app[CONTEXT]
    context.refresh_metrics()
    body, content_type = await request.app[EXPOSITION].answer(request.headers.get("Accept", ""))
    return web.Response(body=body, headers={"Content-Type": content_type})


ROUTES = (
    Route("GET", "/healthz", healthz, Scope.OPEN, "Whether it lives", {200: STATUS}),
    Route(
        "GET",
        "/readyz",
        readyz,
        Scope.OPEN,
        "Whether the model is ready and the streams are served; the reasons, also those of streams that are away",
        {200: READY},
        errors=(422, 503),
        parameters=(STRICT,),
        error_schemas={503: reference("NotReady")},
    ),
    Route(
        "GET",
        "/metrics",
        metrics,
        Scope.VIEW,
        "For Prometheus",
        {200: {"text/plain": {}, "application/openmetrics-text": {}}},
        errors=(503,),
    ),
)
