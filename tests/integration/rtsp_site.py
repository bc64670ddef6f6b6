"""The RTSP server with streams whose camera and network a test plays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from streamd.config.sections import Config
from streamd.daemon import build_login
from streamd.sinks.rtsp import RtspServer
from streamd.sinks.rtsp.connection import Parts
from streamd.web.auth import ACCESS
from streamd.web.connections import Places
from streamd.web.context import CONTEXT
from tests.integration.web_site import Site, served
from tests.support.rtsp_client import RtspClient, connected
from tests.support.waiting import timeout

FFMPEG = "/usr/bin/ffmpeg"
EVERY_S = 0.04


class RtspSite:
    """What ``rtsp_served`` runs."""

    def __init__(self, site: Site, rtsp: RtspServer) -> None:
        self.site, self.rtsp = site, rtsp
        self.url = f"rtsp://127.0.0.1:{rtsp.address[1]}"

    @property
    def viewers(self) -> int:
        return self.site.stream().status.viewers

    @asynccontextmanager
    async def client(self) -> AsyncIterator[RtspClient]:
        async with connected(self.rtsp) as client:
            yield client


@asynccontextmanager
async def rtsp_served(
    *, connections: int = 64, filming: bool = True, server: dict[str, Any] | None = None, **more: Any
) -> AsyncIterator[RtspSite]:
    """``filming``: the camera of each stream goes on at 25 pictures a second. ``server`` is of [server], others as
    ``served`` takes them."""
    async with served(**(server or {}), **more) as site:
        config = Config(server=site.server)
        context, access = site.app[CONTEXT], site.app[ACCESS]
        login = build_login(config, access)
        parts = Parts(site.fleet.get, context.viewers.seat, login, context.memory)
        rtsp = RtspServer(parts, Places(connections).take)
        await rtsp.listen("127.0.0.1", 0)
        camera = asyncio.create_task(_film(site)) if filming else None
        try:
            yield RtspSite(site, rtsp)
        finally:
            if camera is not None:
                camera.cancel()
            await rtsp.close()


async def _film(site: Site) -> None:
    while True:
        for camera in site.cameras.values():
            camera.film(size=(320, 240))
        await asyncio.sleep(EVERY_S)


async def run(command: Sequence[str], within_s: float = 30) -> tuple[int | None, str]:
    """Exit code, and all that it wrote."""
    pipe, join = asyncio.subprocess.PIPE, asyncio.subprocess.STDOUT
    process = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=join)
    try:
        async with timeout(within_s):
            written, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return process.returncode, written.decode(errors="replace")
