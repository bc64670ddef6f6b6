"""The HTTP server: page, API, metrics and WHEP in one aiohttp application."""

from __future__ import annotations

import errno
from functools import partial

from aiohttp import web

from streamd.concurrency import threads
from streamd.concurrency.threads import SharedCall
from streamd.errors import StreamdError
from streamd.sinks.recording.library import Library
from streamd.web import (
    calibration,
    clips,
    events,
    health,
    live,
    mjpeg,
    models,
    openapi,
    page,
    pictures,
    recording_files,
    recordings,
    session,
    streams,
    timeline,
    trial,
    whep,
)
from streamd.web.auth import ACCESS, Access, guard
from streamd.web.connections import HTTP_LIMITS, Listener, Places, bind
from streamd.web.context import CONTEXT, WebContext
from streamd.web.errors import json_errors, note_beginning
from streamd.web.exposition import Exposition
from streamd.web.routes import TABLE, RouteTable
from streamd.web.tls import Tls

MODULES = (
    page,
    health,
    session,
    streams,
    calibration,
    trial,
    models,
    pictures,
    events,
    mjpeg,
    live,
    recordings,
    timeline,
    clips,
    whep,
    openapi,
)
ROUTES = RouteTable(route for module in MODULES for route in module.ROUTES)
CLOSE_CONNECTIONS_S = 0.5
"""aiohttp waits this long for requests under way, then as long again for them to take note."""
SECURITY_HEADERS = {
    "Content-Security-Policy": f"{page.POLICY}'self'",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=(), serial=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""On every answer. No HSTS: that is for the server that terminates TLS to decide."""


def build_app(context: WebContext) -> web.Application:
    """Raises ConfigError for a token that cannot be read."""
    app = web.Application(middlewares=[json_errors, guard], client_max_size=pictures.MAX_PICTURE_BYTES)
    app.on_response_prepare.extend([secure, whep.for_any_page, note_beginning])
    app[CONTEXT] = context
    app[ACCESS] = Access(context.server)
    _build_long_answers(app, context)
    app[whep.ENDPOINTS] = whep.Endpoints(context.streams.get, context.viewers)
    app[page.FILES] = page.Files.read()
    app[openapi.OPENAPI] = openapi.OpenApi(ROUTES)
    app[TABLE] = ROUTES
    app.add_routes(ROUTES.definitions())
    return app


def _build_long_answers(app: web.Application, context: WebContext) -> None:
    """What long answers share, and how they end with the server."""
    feeds = app[mjpeg.FEEDS] = mjpeg.Feeds()
    broadcaster = app[events.BROADCASTER] = events.Broadcaster(
        context.streams, context.service, partial(streams.describe, context)
    )
    directory = context.recording.directory
    archive = app[recording_files.ARCHIVE] = recording_files.Archive(Library(directory) if directory else None)
    app[models.CATALOGUE] = SharedCall("models", context.service.catalogue)
    app[trial.TRIALS] = trial.build(context)
    app.on_startup.append(archive.start)
    app[pictures.DEVICES] = pictures.device_list()
    exposition = app[health.EXPOSITION] = Exposition(context.metrics.registry)
    app.on_shutdown.extend([feeds.end, broadcaster.end, trial.end])
    app.on_cleanup.extend([feeds.clean_up, archive.clean_up, models.clean_up, pictures.clean_up, exposition.clean_up])


class Server:
    """The application, answering at ``url``."""

    def __init__(self, runner: web.AppRunner, listener: Listener, tls: Tls | None) -> None:
        self._runner = runner
        self._listener = listener
        self._tls = tls
        host, port = listener.address
        self.url = f"http{'s' * (tls is not None)}://{f'[{host}]' if ':' in host else host}:{port}/"

    @property
    def connections(self) -> int:
        """How many are open."""
        return self._listener.connections

    async def reload(self) -> None:
        """Reads the certificate again. Raises ConfigError, and goes on with the one before."""
        if self._tls is not None:
            await self._tls.reload()

    async def close(self) -> None:
        """No new requests; those under way get a moment."""
        await self._listener.close()
        await self._runner.cleanup()


async def listen(app: web.Application, address: tuple[str, int], tls: Tls | None = None) -> Server:
    """Raises StreamdError when the address cannot be had."""
    try:
        sockets = await threads.call("bind", partial(bind, *address))
    except OSError as error:
        reason = error.strerror or str(error)
        if error.errno == errno.EADDRINUSE:
            reason = "the port is in use: choose another with --listen HOST:PORT"
        raise StreamdError(f"cannot listen on {address[0]}:{address[1]}: {reason}") from None
    # aiohttp would unpack bodies on the loop, also those that it throws away: a few MB of gzip stop it for seconds.
    limits = {**HTTP_LIMITS, "auto_decompress": False}
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=CLOSE_CONNECTIONS_S, **limits)
    await runner.setup()
    assert runner.server is not None
    places = Places(app[CONTEXT].server.max_connections)
    return Server(runner, Listener(sockets, runner.server, places, tls), tls)


async def secure(request: web.Request, response: web.StreamResponse) -> None:
    """Before the headers go out, of answers that go on too."""
    response.headers.setdefault("Cross-Origin-Resource-Policy", request.app[ACCESS].resource_policy)
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
