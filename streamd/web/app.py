"""The HTTP server: page, API, metrics and WHEP in one aiohttp application."""

from __future__ import annotations

import errno
import mimetypes
from collections.abc import Awaitable, Callable
from importlib import resources
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler

from streamd.errors import StreamdError
from streamd.web import api, whep
from streamd.web.context import CONTEXT, WebContext
from streamd.web.errors import json_errors

STATIC = Path(str(resources.files("streamd") / "web" / "static"))
CLOSE_CONNECTIONS_S = 2.0
REVALIDATE = {"Cache-Control": "no-cache"}
"""Page and scripts of one version only."""
SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
        "media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


def build_app(context: WebContext) -> web.Application:
    app = web.Application(middlewares=[secure, json_errors], client_max_size=api.MAX_PICTURE_BYTES)
    app[CONTEXT] = context
    app.add_routes(api.routes())
    app.add_routes(whep.routes(context.streams.get, context.viewers))
    page = _page(_static_files())
    app.add_routes([web.get("/", page), web.get("/static/{file}", page)])
    return app


class Server:
    """The application, answering at ``url``."""

    def __init__(self, runner: web.AppRunner) -> None:
        self._runner = runner
        host, port = runner.addresses[0][:2]
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{port}/"

    async def close(self) -> None:
        """No new requests; those under way get a moment."""
        await self._runner.cleanup()


async def listen(app: web.Application, address: tuple[str, int]) -> Server:
    """Raises StreamdError when the address cannot be had."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=CLOSE_CONNECTIONS_S)
    await runner.setup()
    try:
        await web.TCPSite(runner, *address).start()
    except OSError as error:
        await runner.cleanup()
        reason = error.strerror or str(error)
        if error.errno == errno.EADDRINUSE:
            reason = "the port is in use: choose another with --listen HOST:PORT"
        raise StreamdError(f"cannot listen on {address[0]}:{address[1]}: {reason}") from None
    return Server(runner)


@web.middleware
async def secure(request: web.Request, handler: Handler) -> web.StreamResponse:
    response = await handler(request)
    for name, value in SECURITY_HEADERS.items():
        response.headers.setdefault(name, value)
    return response


def _static_files() -> dict[str, tuple[bytes, str]]:
    """Read once: the files are few and small, and aiohttp would read them in the default executor."""
    return {
        path.name: (path.read_bytes(), mimetypes.guess_type(path.name)[0] or "application/octet-stream")
        for path in STATIC.iterdir()
        if path.is_file()
    }


def _page(files: dict[str, tuple[bytes, str]]) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def answer(request: web.Request) -> web.Response:
        name = request.match_info.get("file", "index.html")
        if name not in files:
            raise web.HTTPNotFound
        body, content_type = files[name]
        return web.Response(body=body, content_type=content_type, charset="utf-8", headers=REVALIDATE)

    return answer
