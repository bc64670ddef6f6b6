"""Health, readiness and metrics, for those who watch over the daemon."""

from __future__ import annotations

from aiohttp import web

from streamd.states import ModelState
from streamd.web.context import CONTEXT
from streamd.web.errors import RETRY_AFTER_S
from streamd.web.exposition import Exposition
from streamd.web.routes import Route
from streamd.web.schemas import TEXT, json_content, record, reference
from streamd.web.tokens import Scope

EXPOSITION = web.AppKey("exposition", Exposition)
STATUS = json_content(record({"status": TEXT}))


async def healthz(request: web.Request) -> web.Response:
    """The loop answers, so it lives; and a supervisor that died would have ended the process."""
    return web.json_response({"status": "ok"})


async def readyz(request: web.Request) -> web.Response:
    context = request.app[CONTEXT]
    reasons = []
    status = context.service.status
    if status.state not in (ModelState.READY, ModelState.IDLE):
        reasons.append(f"model: {status.message or status.state}")
    reasons += [
        f"stream {stream.name}: {stream.state}" + (f": {stream.reason}" if stream.reason else "")
        for stream in context.streams.values()
        if not stream.is_settled
    ]
    if not reasons:
        return web.json_response({"status": "ready"})
    error = {"code": "not_ready", "message": "; ".join(reasons)}
    headers = {"Retry-After": str(RETRY_AFTER_S)}
    return web.json_response({"error": error, "reasons": reasons}, status=503, headers=headers)


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
        "Whether model and streams are ready",
        {200: STATUS},
        errors=(503,),
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
