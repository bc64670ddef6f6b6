"""The whole HTTP server with streams whose camera and network a test plays."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import aiohttp

from streamd.concurrency.backoff import Backoff
from streamd.concurrency.threads import SerialExecutor
from streamd.config.sections import ModelConfig, RecordingConfig, ServerConfig, StreamConfig, WebRtcConfig
from streamd.depth.guest import Guest
from streamd.depth.store import ModelStore
from streamd.sinks.webrtc import WebRtcSink
from streamd.streams.fleet import Fleet
from streamd.streams.stills import Stills
from streamd.streams.stream import Stream
from streamd.telemetry.metrics import Metrics
from streamd.web.app import Server, build_app, listen
from streamd.web.context import WebContext
from streamd.web.tls import load_tls
from tests.support.played import PlayedCamera, PlayedService
from tests.support.waiting import timeout, wait_for

VIEW_TOKEN, CONTROL_TOKEN = "look-at-it", "change-it-all"


class Service(PlayedService):
    config = ModelConfig(name="embedded")
    memory_limit = 1024
    watchers: ClassVar[set[Any]] = set()

    @property
    def status(self) -> SimpleNamespace:
        info: Any = self.info
        return SimpleNamespace(state="ready", message=None, wanted="embedded", info=info, full_input_size=256)

    def catalogue(self) -> list[Any]:
        return []

    def worker_memory(self) -> float:
        return 1.0


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> tuple[int, str]:
        return self.status, self.json["error"]["code"]


class Site:
    def __init__(self, server: ServerConfig, recording: RecordingConfig) -> None:
        self.metrics = Metrics()
        self.cameras: dict[str, PlayedCamera] = {}
        self.fleet = Fleet(self._make, self.metrics.forget)
        self.recording = recording
        self.server = server
        self.url = ""
        self.http: aiohttp.ClientSession
        self.app: Any = None
        self.listening: Server

    def _make(self, name: str, config: StreamConfig) -> Stream:
        camera = self.cameras[name] = PlayedCamera()
        metrics = self.metrics.of_stream(name)
        service: Any = Service()
        return Stream(name, config, service, metrics, self.recording, backoff=Backoff(first_s=0.01), open_source=camera)

    def stream(self, name: str = "porch") -> Stream:
        return self.fleet[name]

    async def film(self, name: str = "porch", count: int = 1) -> None:
        """One by one, and see each delivered."""
        for _ in range(count):
            before = self.captured(name)
            self.cameras[name].film()
            await self.until(lambda: self.captured(name) > before and self.stream(name).state == "running")  # noqa: B023

    def captured(self, name: str = "porch") -> float:
        value = self.metrics.registry.get_sample_value("streamd_capture_to_publish_seconds_count", {"stream": name})
        return value or 0

    async def until(self, done: Callable[[], object], within_s: float = 5) -> None:
        async with timeout(within_s):
            while not done():  # noqa: ASYNC110
                await asyncio.sleep(0.005)

    async def ask(self, method: str, path: str, body: bytes | None = None, /, **headers: str) -> Reply:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        async with self.http.request(method, self.url + path, data=body, headers=given) as response:
            return Reply(response.status, response.headers, await response.read())

    async def get(self, path: str, **headers: str) -> Reply:
        return await self.ask("GET", path, **headers)

    async def put(self, path: str, **body: Any) -> Reply:
        return await self.ask("PUT", path, json.dumps(body).encode(), Content_Type="application/json")


@asynccontextmanager
async def served(
    *,
    recording: RecordingConfig | None = None,
    streams: Mapping[str, Mapping[str, Any]] | None = None,
    service: Any = None,
    store: Any = None,
    **server: Any,
) -> AsyncIterator[Site]:
    """By default with one stream, porch. Keyword arguments are of [server]."""
    site = Site(ServerConfig(**server), recording or RecordingConfig())
    sink, stop = WebRtcSink(WebRtcConfig(), loopback=True), asyncio.Event()
    stills, uploads = Stills(), SerialExecutor("uploads")
    given = {"porch": {}} if streams is None else streams
    await site.fleet.apply({name: StreamConfig(source="rtsp://h/live", **more) for name, more in given.items()})
    live: Any = service or Service()
    guest = Guest(lambda: live.config, store or ModelStore(Path("/none"), Path("/none")))
    context = WebContext(
        site.fleet,
        live,
        guest,
        site.metrics,
        sink,
        stills,
        uploads,
        site.server,
        site.recording,
        configured_model=lambda: live.config,
    )
    site.app = build_app(context)
    running = asyncio.create_task(site.fleet.run(stop))
    site.listening = await listen(site.app, ("127.0.0.1", 0), load_tls(site.server))
    site.url = site.listening.url.rstrip("/")
    try:
        async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as site.http:
            yield site
    finally:
        stop.set()
        await wait_for(running, 5)
        await sink.shutdown()
        await site.listening.close()
        stills.close()
        uploads.close()
        guest.close()
