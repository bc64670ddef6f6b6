"""The page's files, and the page of one stream for a frame on another site."""

from __future__ import annotations

import mimetypes
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from aiohttp import web

from streamd.web.parameters import VIEW
from streamd.web.routes import Route
from streamd.web.schemas import HTML
from streamd.web.tokens import Scope

STATIC = Path(str(resources.files("streamd") / "web" / "static"))
REVALIDATE = {"Cache-Control": "no-cache"}
"""Page and scripts of one version only."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors "
)
"""Content-Security-Policy, up to the value of frame-ancestors."""
FOR_ANY_PAGE = {
    **REVALIDATE,
    "Content-Security-Policy": f"{POLICY}*",
    "Cross-Origin-Resource-Policy": "cross-origin",  # for pages with Cross-Origin-Embedder-Policy
}
WITH_CAMERA = {
    **REVALIDATE,
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=(), payment=(), usb=(), serial=()",
}


class File(NamedTuple):
    body: bytes
    content_type: str


class Files(dict[str, File]):
    """The page's, by name. Read once: they are few and small, and aiohttp would read them in the default executor."""

    @classmethod
    def read(cls) -> Files:
        return cls(
            (path.name, File(path.read_bytes(), mimetypes.guess_type(path.name)[0] or "application/octet-stream"))
            for path in STATIC.iterdir()
            if path.is_file()
        )

    def answer(self, name: str, headers: Mapping[str, str] = REVALIDATE) -> web.Response:
        """Raises HTTPNotFound."""
        if name not in self:
            raise web.HTTPNotFound
        file = self[name]
        return web.Response(body=file.body, content_type=file.content_type, charset="utf-8", headers=headers)


FILES = web.AppKey("files", Files)


async def index(request: web.Request) -> web.Response:
    return request.app[FILES].answer("index.html")


async def file(request: web.Request) -> web.Response:
    return request.app[FILES].answer(request.match_info["file"])


async def photo(request: web.Request) -> web.Response:
    """Pictures and their depth. It may use this machine's camera; what it asks for needs the right to view."""
    return request.app[FILES].answer("photo.html", WITH_CAMERA)


async def embed(request: web.Request) -> web.Response:
    """One stream for a frame on any page, such as Home Assistant's or Grafana's."""
    return request.app[FILES].answer("embed.html", FOR_ANY_PAGE)


ROUTES = (
    Route("GET", "/", index, Scope.OPEN, "The viewer page", {200: HTML}),
    Route("GET", "/photo", photo, Scope.OPEN, "The page of single pictures and their depth", {200: HTML}),
    Route("GET", "/static/{file}", file, Scope.OPEN, "A file of the page", {200: {"*/*": {}}}, errors=(404,)),
    Route(
        "GET",
        "/embed/{name}",
        embed,
        Scope.OPEN,
        "One stream, for a frame on another page",
        {200: HTML},
        errors=(404,),
        parameters=(VIEW,),
    ),
)
