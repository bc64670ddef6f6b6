"""The daemon: wires the parts together, runs them in one task group, stops them in order."""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import os
import signal
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from streamd import __version__
from streamd.concurrency import threads
from streamd.concurrency.deadline import Deadline
from streamd.concurrency.threads import SerialExecutor
from streamd.concurrency.waiting import ends_within
from streamd.config.sections import Config, ModelConfig, StreamConfig
from streamd.depth.estimator import ModelInfo
from streamd.depth.guest import Guest
from streamd.depth.kept_choice import KeptChoice
from streamd.depth.models import find_model, timeout_s
from streamd.depth.runtimes import check_model
from streamd.depth.service import DepthService, ServiceEvents
from streamd.depth.store import ModelStore
from streamd.errors import DepthError, InferenceFailed, StreamdError
from streamd.host import allocator
from streamd.host.descriptors import ensure_descriptors
from streamd.host.memory import MemoryRelief
from streamd.host.systemd import DaemonStatus, SystemdLink
from streamd.notify.hooks import Hooks
from streamd.notify.mqtt import Mqtt
from streamd.robots.feed import RobotFeed
from streamd.sinks.rtsp import Login, RtspServer
from streamd.sinks.rtsp.connection import Parts
from streamd.sinks.webrtc import WebRtcSink
from streamd.sources import MediaDirectories, open_source
from streamd.streams.fleet import Fleet
from streamd.streams.kept import KeptStreams
from streamd.streams.kept_calibrations import KeptCalibrations
from streamd.streams.recovery import SILENT_S
from streamd.streams.stills import NICENESS, Stills
from streamd.streams.stream import Stream
from streamd.telemetry.metrics import Metrics
from streamd.upkeep import Upkeep
from streamd.web.app import Server, build_app, listen
from streamd.web.auth import ACCESS, Access, read_tokens
from streamd.web.connections import Places
from streamd.web.context import WebContext
from streamd.web.tls import load_tls
from streamd.web.tokens import is_digest

log = logging.getLogger(__name__)

HEARTBEAT_S = 0.25
LOOK_EVERY_S = 2.0
TIDY_EVERY_S = 10.0
LAG_WINDOW_S = 30.0
MAX_UPLOADS, MAX_UPLOADS_PER_CLIENT = 8, 4
"""That wait or are worked on."""
DESCRIPTORS_PER_VIEWER = 8
"""A socket for each address of this machine."""
RTSP_CONNECTIONS_PER_VIEWER = 2
"""Those that come and go at the same time included."""
RTSP_DESCRIPTORS = 3
"""Of a connection: itself and a pair for UDP."""
OTHER_DESCRIPTORS = 512
"""Cameras, recordings, the worker, libraries."""
# The end, in seconds after ``stop``: whatever takes longer is left to itself, so that all is done before systemd loses
# patience.
END_S = 3.25
STREAMS_S = 2.75
"""For streams and viewers to end, side by side."""
CLOSE_S = 1.0
"""For the HTTP server, and then for the worker process and the other threads, as far as ``END_S`` lets them."""
LATE_S = 0.25
"""They have so long at least."""
MODEL_S = 10.0
"""How long a reload waits for another model; one that takes longer comes later."""
SLOTS = 32
"""Of the worker's shared memory: streams come at run time, and more than this take turns."""


class Daemon:
    """Built and run on an event loop. ``stop`` from a signal handler or a test."""

    def __init__(self, config: Config, store: ModelStore, reload: Callable[[], Config] | None = None) -> None:
        """``reload`` reads the configuration again; raises ConfigError."""
        self.config = config
        self.metrics = build_metrics()
        self._model = config.model
        """As the configuration says, read last."""
        self.kept_model = KeptChoice(store.data.parent / "model.json") if config.server.keep_changes else None
        chosen = self.kept_model.restore(config.model) if self.kept_model else config.model
        self.service = build_service(chosen, store, self.metrics)
        self.metrics.show_endpoints([False] * len(chosen.endpoints) if chosen.runtime == "remote" else ())
        # Beside the models: it belongs to this installation as they do.
        self.streams = build_fleet(config, self.service, self.metrics, store.data.parent / "streams.json")
        calibrations = store.data.parent / "calibrations.json" if config.server.keep_changes else None
        self._calibrations = KeptCalibrations(calibrations, self.streams, self.service)
        self.memory = MemoryRelief()
        self.viewers = WebRtcSink(config.webrtc, loopback=config.server.loopback, memory=self.memory)
        self._hooks = Hooks(config.hooks, self.streams)
        self._mqtt = build_mqtt(config, self.streams, self.service)
        self._robots = build_robots(config, self.streams)
        # Threads begin here: what is wrong with the configuration has been said.
        self.guest = Guest(lambda: self.service.config, store)
        self.stills = Stills()
        self.uploads = SerialExecutor(
            "uploads", MAX_UPLOADS, max_per_owner=MAX_UPLOADS_PER_CLIENT, niceness=NICENESS, calls="pictures"
        )
        self.systemd = SystemdLink(self._status)
        self._upkeep = Upkeep(
            self.streams,
            self.service,
            self.guest,
            self.metrics,
            self.memory,
            config.recording,
            on_exhausted=self._exhaust,
        )
        self._reload = reload
        self._server: Server | None = None
        self.rtsp: RtspServer | None = None
        """Once it listens; None: not configured."""
        self._reload_wanted = asyncio.Event()
        """Set when the configuration is to be read again."""
        self._stop = asyncio.Event()
        self._running: asyncio.Task[Any] | None = None
        self._interrupted = False
        self.on_stop: Callable[[], None] = lambda: None
        """Called once, when the end begins."""
        self._deadline = Deadline(END_S)
        self.exhausted = False
        """Stopped for want of memory: to be started again."""

    def stop(self) -> None:
        """Safe to repeat."""
        if not self._stop.is_set():
            self._deadline.start()
            self.on_stop()
        self._stop.set()

    def interrupt(self) -> None:
        """Stops; the second time whatever is still waited for is left to itself."""
        if self._stop.is_set() and self._running is not None:
            log.warning("stopping at once")
            self._interrupted = True
            self._running.cancel()
        self.stop()

    async def run(self, on_listening: Callable[[str], None] = lambda url: None) -> None:
        """Until ``stop``. Raises StreamdError when it cannot listen, or has to be started again."""
        self._running = asyncio.current_task()
        try:
            await self._run(on_listening)
        except asyncio.CancelledError:
            if not self._interrupted:
                raise
        if self.exhausted:
            raise StreamdError("memory ran out: stopped in good order, to be started again")

    async def _run(self, on_listening: Callable[[str], None]) -> None:
        await self.streams.restore()
        server = self._server = await self._listen()
        allocator.freeze_modules()
        on_listening(server.url)
        self._log_cpu_budget()
        self._check_descriptors()
        self.service.start(lazy=True)
        self._hooks.start()
        for feed in self._robots:
            feed.start()
        try:
            await self._run_parts()
        finally:
            try:
                await self._close_server(server)
            finally:
                await self._close()

    async def _run_parts(self) -> None:
        """Until ``stop``, and all have ended or been left to themselves."""
        try:
            async with asyncio.timeout(None) as ending, asyncio.TaskGroup() as group:
                helpers = [
                    group.create_task(helper)
                    for helper in (
                        *self._upkeep.jobs(),
                        self._reloads(),
                        self._calibrations.run(),
                        self.systemd.run(),
                        *self._mqtt_jobs(),
                    )
                ]
                group.create_task(self.streams.run(self._stop))
                await self._stop.wait()
                ending.reschedule(asyncio.get_running_loop().time() + self._deadline.left_s(STREAMS_S))
                self.systemd.stopping()
                for helper in helpers:
                    helper.cancel()
                await self._close_viewers()
        except TimeoutError:
            log.error("not all streams have ended: going on without them")

    async def _listen(self) -> Server:
        context = WebContext(
            self.streams,
            self.service,
            self.guest,
            self.metrics,
            self.viewers,
            self.stills,
            self.uploads,
            self.config.server,
            self.config.recording,
            self.memory,
            lambda: self._model,
            self.kept_model,
        )
        try:
            app = build_app(context)
            await self._listen_rtsp(app[ACCESS])
            return await listen(app, self.config.server.address, load_tls(self.config.server))
        except StreamdError:
            await self._close_viewers()
            self.guest.close()
            self._close_executors()
            await self.streams.close()
            raise

    async def _listen_rtsp(self, access: Access) -> None:
        """Raises StreamdError."""
        address = self.config.rtsp.address
        if address is not None:
            login = build_login(self.config, access)
            places = Places(RTSP_CONNECTIONS_PER_VIEWER * self.viewers.max_viewers)
            self.rtsp = RtspServer(Parts(self.streams.get, self.viewers.seat, login, self.memory), places.take)
            await self.rtsp.listen(*address)

    async def _close_viewers(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await asyncio.gather(self.viewers.shutdown(), *([self.rtsp.close()] if self.rtsp else []))

    async def _close_server(self, server: Server) -> None:
        """Clients that do not read are left to themselves."""
        closing = asyncio.create_task(server.close(), name="close-server")
        await asyncio.wait([closing], timeout=self._deadline.left_s(2 * CLOSE_S, min_s=LATE_S))
        if closing.done():
            closing.result()

    async def _close(self) -> None:
        """In a thread: it waits for processes and other threads, and the loop must go on answering meanwhile."""
        thread = threads.start("closing", self._close_blocking)
        left_s = self._deadline.left_s(CLOSE_S, min_s=LATE_S)
        _, ended, _ = await asyncio.gather(
            self.streams.close(left_s), threads.finish(thread, left_s), self._close_notifiers()
        )
        if ended:
            thread.finished.result()

    def _mqtt_jobs(self) -> list[Coroutine[Any, Any, None]]:
        return [self._mqtt.run()] if self._mqtt is not None else []

    async def _close_notifiers(self) -> None:
        """The ends of streams have been told, as far as their receivers took them."""
        mqtt = [self._mqtt.close()] if self._mqtt is not None else []
        await asyncio.gather(self._hooks.close(), *(feed.close() for feed in self._robots), *mqtt)

    def _close_blocking(self) -> None:
        self.service.close()
        self.guest.close()
        self._close_executors()

    def _close_executors(self) -> None:
        self.stills.close()
        self.uploads.close(CLOSE_S)

    def _log_cpu_budget(self) -> None:
        inference = _cores() if self.config.model.threads == "auto" else self.config.model.threads
        log.info(
            "CPU budget: %d cores; %d threads infer, %d decode each source, 1 encodes each watched view",
            _cores(),
            inference,
            _decode_threads(len(self.streams)),
        )

    def _check_descriptors(self) -> None:
        viewers, connections = self.config.webrtc.max_viewers, self.config.server.max_connections
        if self.rtsp is not None:
            connections += RTSP_DESCRIPTORS * RTSP_CONNECTIONS_PER_VIEWER * viewers
        wanted = connections + DESCRIPTORS_PER_VIEWER * viewers + OTHER_DESCRIPTORS
        limit = ensure_descriptors(wanted)
        if limit < wanted:
            log.warning("this process may open %d files, %d could be needed: raise LimitNOFILE=", limit, wanted)

    def install_signals(self) -> None:
        """And logs, on stderr, where all threads are when the watchdog or a fault in a library aborts us."""
        faulthandler.enable()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.interrupt)
        loop.add_signal_handler(signal.SIGHUP, self._reload_wanted.set)

    def ignore_signals(self) -> None:
        """When all is done. Closing the loop would restore what they do by default, and one more would turn a good
        end into a bad exit code."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.remove_signal_handler(number)
            signal.signal(number, signal.SIG_IGN)

    def _exhaust(self) -> None:
        self.exhausted = True
        self.stop()

    async def _reloads(self) -> None:
        """On SIGHUP reads the configuration again and applies the difference. A bad one changes nothing."""
        while True:
            await self._reload_wanted.wait()
            self._reload_wanted.clear()
            with self.systemd.reloading():
                try:
                    await self._read_again()
                except Exception:  # a fault of ours must not end what runs
                    log.exception("internal error while the configuration was read again")
                    self.systemd.warning = "the changed configuration was not taken, or not all of it"

    async def _read_again(self) -> None:
        if self._reload is None:
            return
        try:
            config = await self._read()
            if self._server is not None:
                await self._server.reload()
        except StreamdError as error:
            for line in str(error).splitlines():
                log.error("configuration not taken: %s", line)
            self.systemd.warning = "the changed configuration is bad and was not taken"
            return
        for section in ("server", "webrtc", "rtsp", "recording", "mqtt", "hooks", "ros2", "foxglove"):
            if getattr(config, section) != getattr(self.config, section):
                log.warning("[%s] has changed: it takes effect at the next start", section)
        await self.streams.apply(config.streams)
        self.systemd.warning = await self._apply_model(config.model)
        log.info("configuration read again")

    async def _apply_model(self, config: ModelConfig) -> str:
        """Changes over, whatever the API has chosen meanwhile. Returns what is wrong with it."""
        self._model = config
        if self.kept_model is not None:
            await threads.call("kept-model", self.kept_model.forget)
        if config == self.service.wanted:
            return ""
        try:
            await ends_within(self.service.change(config), MODEL_S)
        except DepthError as error:  # the log has it
            return f"the changed model was not taken: {error}"
        return ""

    async def _read(self) -> Config:
        """In a thread: the disk may hang. Raises ConfigError."""
        return await threads.call("reload", self._read_blocking)

    def _read_blocking(self) -> Config:
        assert self._reload is not None
        config = self._reload()
        check_model(config.model)
        return config

    def _status(self) -> DaemonStatus:
        """What systemd is shown."""
        status, info = self.service.status, self.service.info
        running = f"{info.spec.name} {info.precision}" if info else f"{status.wanted} {status.state}"
        streams = [stream.status for stream in self.streams.values()]
        return DaemonStatus(streams, self.streams.stuck, status.state, running)


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _decode_threads(streams: int) -> int:
    """Of each source, so that all of them together have a thread per core."""
    return max(1, _cores() // max(1, streams))


class _ModelMetrics(ServiceEvents):
    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def model_running(self, info: ModelInfo) -> None:
        self._metrics.show_model(info.spec.name, info.runtime, info.precision, info.sha256)
        self._metrics.input_size.set(info.spec.preprocessing.input_size)

    def worker_lost(self, failure: InferenceFailed) -> None:
        self._metrics.worker_restarts.labels(failure.reason).inc()

    def endpoints(self, serving: Sequence[bool]) -> None:
        self._metrics.show_endpoints(serving)


def build_metrics() -> Metrics:
    metrics = Metrics()
    metrics.build.info({"version": __version__})
    return metrics


def build_service(config: ModelConfig, store: ModelStore, metrics: Metrics) -> DepthService:
    # Several streams are inferred side by side: 10 % less CPU a frame than one after the other on all cores.
    # Batches save nothing more here, and make the first of each wait for the last (measured).
    return DepthService(config, store, max_parallel=_cores(), slots=SLOTS, events=_ModelMetrics(metrics))


def build_mqtt(config: Config, streams: Fleet, service: DepthService) -> Mqtt | None:
    if not config.mqtt.url:
        return None

    def model() -> str | None:
        return service.info.spec.name if service.info else None

    return Mqtt(config.mqtt, streams, model, records=config.recording.directory is not None)


def build_robots(config: Config, streams: Fleet) -> list[RobotFeed]:
    """One for each that is configured. Raises ConfigError."""
    feeds: list[RobotFeed] = []
    if config.ros2.enabled:
        from streamd.robots.ros2 import Ros2

        feeds.append(RobotFeed("ros2", streams, Ros2(config.ros2), config.ros2.max_fps))
    for name, without in (("foxglove", {"mcap": None}), ("mcap", {"listen": ""})):
        foxglove = config.foxglove.model_copy(update=without)
        if foxglove.listen or foxglove.mcap is not None:
            from streamd.robots.foxglove import Foxglove

            feeds.append(RobotFeed(name, streams, Foxglove(foxglove), foxglove.max_fps))
    return feeds


def build_login(config: Config, access: Access) -> Login | None:
    """For RTSP: the tokens of HTTP, and the same limit on wrong ones. None: nobody needs one. Raises ConfigError."""
    server = config.server
    if not server.view_tokens and (server.allow_anonymous or config.rtsp.loopback):
        return None
    tokens = [token for key in ("view_tokens", "control_tokens") for token in read_tokens(server, key)]
    plain = [token for token in tokens if not is_digest(token)]
    hashed = len(plain) < len(tokens)
    if hashed and not config.rtsp.loopback:
        log.warning("RTSP: tokens that are configured as sha256: are good on this machine only: give them themselves")
    return Login(plain, lambda token: access.tokens.scope(token) is not None, access.failures, hashed=hashed)


def build_fleet(config: Config, service: DepthService, metrics: Metrics, kept: Path) -> Fleet:
    """``kept`` is the file for streams that the API adds."""
    media = MediaDirectories(config.server.media_directories)

    def make(name: str, settings: StreamConfig) -> Stream:
        hung_s = timeout_s(service.config, find_model(service.config.name))
        stream = Stream(
            name,
            settings,
            service,
            metrics.of_stream(name),
            config.recording,
            decode_threads=lambda: _decode_threads(len(fleet)),
            open_source=lambda config, stop, threads: open_source(config, stop, threads, media, stream.origin),
            patience_s=max(SILENT_S, 2 * hung_s),  # a worker that hangs is replaced first
        )
        return stream

    fleet = Fleet(make, metrics.forget, config.streams, KeptStreams(kept) if config.server.keep_changes else None)
    return fleet
