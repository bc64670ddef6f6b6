"""The HTTP server: page, API, metrics and WHEP in one aiohttp application."""

from __future__ import annotations

import errno
import mimetypes
from collections.abc import Awaitable, Callable
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Protocol

from aiohttp import web

from streamd.errors import StreamdError
from streamd.sinks.recording.library import Library
from streamd.web import events, health, mjpeg, openapi, pictures, recordings, session, streams, whep
from streamd.web.auth import ACCESS, Access, guard
from streamd.web.context import CONTEXT, WebContext
from streamd.web.errors import json_errors
from streamd.web.exposition import Exposition
from streamd.web.tls import Tls

STATIC = Path(str(resources.files("streamd") / "web" / "static"))
CLOSE_CONNECTIONS_S = 2.0
REVALIDATE = {"Cache-Control": "no-cache"}
"""Page and scripts of one version only."""
SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
        "media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    ),
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=(), serial=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""On every answer. No HSTS: who ends TLS decides for how long the name may not be used without."""


def build_app(context: WebContext) -> web.Application:
    """Raises ConfigError for a token that cannot be read."""
    app = web.Application(middlewares=[json_errors, guard], client_max_size=pictures.MAX_PICTURE_BYTES)
    app.on_response_prepare.extend([secure, whep.for_any_page])
    app[CONTEXT] = context
    app[ACCESS] = Access(context.server)
    app[health.EXPOSITION] = Exposition(context.metrics.registry)
    _build_long_answers(app, context)
    for module in (health, streams, pictures, events, mjpeg, openapi, recordings, session):
        app.add_routes(module.routes())
    app.add_routes(whep.routes(context.streams.get, context.viewers))
    page = _page(_static_files())
    app.add_routes([web.get("/", page), web.get("/static/{file}", page), web.get("/embed/{name}", _embed(page))])
    return app


def _build_long_answers(app: web.Application, context: WebContext) -> None:
    """What answers that go on for long share, and how they end with the server."""
    feeds = app[mjpeg.FEEDS] = mjpeg.Feeds()
    board = app[events.BOARD] = events.Board(context.streams, partial(streams.describe, context))
    directory = context.recording.directory
    archive = app[recordings.ARCHIVE] = recordings.Archive(Library(directory) if directory else None)
    app.on_shutdown.extend([feeds.end, board.end])
    app.on_cleanup.extend([feeds.clean_up, archive.clean_up])


class PageHandler(Protocol):
    """A file of the page: the one in the address, or the one named."""

    async def __call__(self, request: web.Request, name: str | None = None) -> web.Response: ...


class Server:
    """The application, answering at ``url``."""

    def __init__(self, runner: web.AppRunner, tls: Tls | None) -> None:
        self._runner = runner
        self._tls = tls
        host, port = runner.addresses[0][:2]
        self.url = f"http{'s' * (tls is not None)}://{f'[{host}]' if ':' in host else host}:{port}/"

    def reload(self) -> None:
        """Reads the certificate again. Raises ConfigError, and goes on with the one before."""
        if self._tls is not None:
            self._tls.reload()

    async def close(self) -> None:
        """No new requests; those under way get a moment."""
        await self._runner.cleanup()


async def listen(app: web.Application, address: tuple[str, int], tls: Tls | None = None) -> Server:
    """Raises StreamdError when the address cannot be had."""
    # aiohttp would unpack bodies on the loop, also those that it throws away: a few MB of gzip stop it for seconds.
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=CLOSE_CONNECTIONS_S, auto_decompress=False)
    await runner.setup()
    try:
        await web.TCPSite(runner, *address, ssl_context=tls.context if tls else None).start()
    except OSError as error:
        await runner.cleanup()
        reason = error.strerror or str(error)
        if error.errno == errno.EADDRINUSE:
            reason = "the port is in use: choose another with --listen HOST:PORT"
        raise StreamdError(f"cannot listen on {address[0]}:{address[1]}: {reason}") from None
    return Server(runner, tls)


async def secure(request: web.Request, response: web.StreamResponse) -> None:
    """Before the headers go out, of answers that go on too."""
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)


def _static_files() -> dict[str, tuple[bytes, str]]:
    """Read once: the files are few and small, and aiohttp would read them in the default executor."""
    return {
        path.name: (path.read_bytes(), mimetypes.guess_type(path.name)[0] or "application/octet-stream")
        for path in STATIC.iterdir()
        if path.is_file()
    }


def _page(files: dict[str, tuple[bytes, str]]) -> PageHandler:
    async def answer(request: web.Request, name: str | None = None) -> web.Response:
        name = name or request.match_info.get("file", "index.html")
        if name not in files:
            raise web.HTTPNotFound
        body, content_type = files[name]
        return web.Response(body=body, content_type=content_type, charset="utf-8", headers=REVALIDATE)

    return answer


def _embed(page: PageHandler) -> Callable[[web.Request], Awaitable[web.Response]]:
    """One stream for a frame on any page, such as Home Assistant's or Grafana's."""

    async def answer(request: web.Request) -> web.Response:
        response = await page(request, "embed.html")
        policy = SECURITY_HEADERS["Content-Security-Policy"]
        response.headers["Content-Security-Policy"] = policy.replace("frame-ancestors 'self'", "frame-ancestors *")
        return response

    return answer
