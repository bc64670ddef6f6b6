"""Runs ``hooks.command`` at each event: without a shell, with little in its environment, and not for long."""

from __future__ import annotations

import asyncio
import logging
import os
import selectors
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial

from streamd.concurrency import threads
from streamd.config.redact import shorten
from streamd.notify.message import fields, message
from streamd.streams.events import Event

log = logging.getLogger(__name__)

MAX_AT_ONCE = 4
"""Of different streams: the events of one are told one after the other."""
MAX_WAITING = 64
TIMEOUT_S = 30.0
CLOSE_S = 0.5
SAID_BYTES = 300
"""Of what a command that failed wrote last."""
_POLL_S = 0.05
_CHUNK = 1 << 16
_KEPT = (
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "LANG",
    "LC_ALL",
    "TZ",
    "TMPDIR",
    "XDG_RUNTIME_DIR",
    "DBUS_SESSION_BUS_ADDRESS",
)
"""Of our environment: all else may be a secret."""


class Commands:
    """Lives on the event loop; each command has a thread, which waits for it."""

    def __init__(self, command: Sequence[str], timeout_s: float = TIMEOUT_S) -> None:
        self._command = command
        self._timeout_s = timeout_s
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Event] = deque()
        self._running: dict[str, threads.Worker] = {}
        """By stream."""
        self._closing = threading.Event()

    def start(self) -> None:
        """There is nothing to start."""

    def tell(self, event: Event) -> None:
        if len(self._waiting) >= MAX_WAITING:
            log.warning("hooks.command: too slow: an event is not told")
            return
        self._waiting.append(event)
        self._start()

    async def close(self) -> None:
        """Kills what runs."""
        self._closing.set()
        self._waiting.clear()
        await asyncio.gather(*(threads.finish(worker, CLOSE_S) for worker in self._running.values()))

    def _start(self) -> None:
        for event in list(self._waiting):
            if len(self._running) < MAX_AT_ONCE and event.stream not in self._running:
                self._waiting.remove(event)
                worker = threads.start("hook", partial(self._run, event))
                self._running[event.stream] = worker
                worker.finished.add_done_callback(partial(self._threadsafe, event.stream))

    def _threadsafe(self, stream: str, _: object) -> None:
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._ended, stream)

    def _ended(self, stream: str) -> None:
        del self._running[stream]
        self._start()

    def _run(self, event: Event) -> None:
        """In its thread. Never raises."""
        arguments = [filled(text, fields(event)) for text in self._command]
        try:
            with subprocess.Popen(
                arguments,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                cwd="/",
                env=environment(event, os.environ),
                start_new_session=True,
            ) as process:
                self._attend(process, message(event))
        except (OSError, ValueError) as error:
            log.warning("hooks.command: %s: %s", self._command[0], getattr(error, "strerror", None) or error)

    def _attend(self, process: subprocess.Popen[bytes], given: bytes) -> None:
        until_s = time.monotonic() + self._timeout_s
        assert process.stdin
        assert process.stderr
        with suppress(BrokenPipeError):  # it reads nothing; a pipe has room for all of it
            process.stdin.write(given)
            process.stdin.flush()
        with suppress(BrokenPipeError):
            process.stdin.close()
        said = self._listen(process, process.stderr.fileno(), until_s)
        process.stderr.close()
        if process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            if not self._closing.is_set():
                log.warning("hooks.command: killed: it took longer than %g s", self._timeout_s)
        elif process.returncode:
            text = shorten(said.decode(errors="replace"), SAID_BYTES)
            log.warning("hooks.command: exit code %d: %s", process.returncode, text or "it said nothing")

    def _listen(self, process: subprocess.Popen[bytes], descriptor: int, until_s: float) -> bytes:
        """The end of what it says until it ends, or has to. What it left running may hold the pipe for longer."""
        said, is_open = b"", True
        os.set_blocking(descriptor, False)
        with selectors.DefaultSelector() as selector:
            selector.register(descriptor, selectors.EVENT_READ)
            while process.poll() is None and time.monotonic() < until_s and not self._closing.is_set():
                if not is_open:
                    self._closing.wait(_POLL_S)
                elif selector.select(_POLL_S):
                    more = os.read(descriptor, _CHUNK)
                    said, is_open = (said + more)[-SAID_BYTES:], bool(more)
        with suppress(BlockingIOError):
            said += os.read(descriptor, _CHUNK)
        return said[-SAID_BYTES:]


def filled(text: str, values: Mapping[str, str]) -> str:
    """What an event brings is put in as it is, once: braces in it mean nothing."""
    parts = text.split("{")
    return parts[0] + "".join(_filled(part, values) for part in parts[1:])


def _filled(part: str, values: Mapping[str, str]) -> str:
    name, brace, rest = part.partition("}")
    return values[name] + rest if brace and name in values else "{" + part


def environment(event: Event, ours: Mapping[str, str]) -> dict[str, str]:
    """What a command needs, and the event as STREAMD_*."""
    told = {"type": event.type, **{name: value for name, value in event.json.items() if value is not None}}
    kept = {name: ours[name] for name in _KEPT if name in ours}
    return kept | {f"STREAMD_{name.upper()}": str(value) for name, value in told.items()}
