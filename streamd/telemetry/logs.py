"""How streamd logs: one line per event, no password in any, no time where journald adds its own."""

from __future__ import annotations

import functools
import json
import logging
import os
import sys
import time
from collections import OrderedDict
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from logging.handlers import QueueHandler
from queue import SimpleQueue
from typing import Any

from streamd.concurrency import threads
from streamd.config.redact import cut, redact

MAX_TEXT = 32_768
"""Characters of a message or a traceback; what comes after is left out."""
BURST = 5
WINDOW_S = 60.0
MAX_KINDS = 256
QUEUE_LINES = 1000
CLOSE_S = 0.5
# syslog(3) priorities: journald takes them from the beginning of a line (sd-daemon(3)).
_PRIORITIES = {logging.DEBUG: 7, logging.INFO: 6, logging.WARNING: 4, logging.ERROR: 3, logging.CRITICAL: 2}


class RedactingFormatter(logging.Formatter):
    """Redacts every line last of all, with what libraries put into messages and tracebacks."""

    def format(self, record: logging.LogRecord) -> str:
        return redact(cut(super().format(record), MAX_TEXT))


class JournalFormatter(RedactingFormatter):
    """Each line with its priority, so that ``journalctl -p warning`` finds it."""

    def format(self, record: logging.LogRecord) -> str:
        priority = f"<{_PRIORITIES.get(record.levelno, 6)}>"
        return "\n".join(priority + line for line in super().format(record).splitlines())


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (RFC 3339), level, logger, message, and stream and traceback where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        content: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redact(cut(record.getMessage(), MAX_TEXT)),
        }
        if stream := getattr(record, "stream", None):
            content["stream"] = stream
        if record.exc_info:
            content["traceback"] = redact(cut(self.formatException(record.exc_info), MAX_TEXT))
        return json.dumps(content, ensure_ascii=False)


class StreamLog(logging.LoggerAdapter[logging.Logger]):
    """Puts the name of a stream before each line."""

    def __init__(self, logger: logging.Logger, stream: str) -> None:
        super().__init__(logger, {"stream": stream})
        self._prefix = f"stream {stream}: ".replace("%", "%%")

    def process(self, msg: Any, kwargs: MutableMapping[str, Any]) -> tuple[Any, MutableMapping[str, Any]]:
        kwargs["extra"] = {**(self.extra or {}), **(kwargs.get("extra") or {})}
        return f"{self._prefix}{msg}", kwargs


@dataclass
class _Kind:
    since: float
    count: int = 0
    hidden: int = 0


class Collapse(logging.Filter):
    """Of warnings and errors that are alike, lets a few a minute through and counts the rest: a camera that
    fails all night must not fill the disk. Alike are those of one place in the code and one stream."""

    def __init__(self) -> None:
        super().__init__()
        self._kinds: OrderedDict[object, _Kind] = OrderedDict()

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return True
        key = (record.name, record.levelno, record.msg, getattr(record, "stream", None))
        now = time.monotonic()
        kind = self._kinds.setdefault(key, _Kind(now))
        self._kinds.move_to_end(key)
        if len(self._kinds) > MAX_KINDS:
            self._kinds.popitem(last=False)
        if now - kind.since >= WINDOW_S:
            if kind.hidden:
                record.msg = f"{record.msg} (and {kind.hidden} more like this)"
            kind.since, kind.count, kind.hidden = now, 0, 0
        kind.count += 1
        kind.hidden += kind.count > BURST
        return kind.count <= BURST


class BackgroundHandler(QueueHandler):
    """Hands lines to a thread, which redacts and writes them: what reads our stderr may stop reading, and neither the
    event loop nor the path of a frame may wait for it. When ``QUEUE_LINES`` wait, more are dropped and counted."""

    def __init__(self, handlers: Sequence[logging.Handler]) -> None:
        self._lines: SimpleQueue[logging.LogRecord | None] = SimpleQueue()
        super().__init__(self._lines)
        self._handlers = handlers
        self._dropped = 0
        self._thread = threads.start("log", self._write)

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record  # the filters and formatters of the thread want it whole

    def enqueue(self, record: logging.LogRecord) -> None:
        if self._lines.qsize() < QUEUE_LINES:
            self._lines.put(record)
        else:
            self._dropped += 1

    def _write(self) -> None:
        while record := self._lines.get():
            self._handle(record)
            if self._dropped:
                dropped, self._dropped = self._dropped, 0
                text = "%d lines dropped: their reader is too slow"
                self._handle(logging.LogRecord(__name__, logging.WARNING, __file__, 0, text, (dropped,), None))

    def _handle(self, record: logging.LogRecord) -> None:
        for handler in self._handlers:
            if record.levelno >= handler.level:
                handler.handle(record)

    def close(self) -> None:
        """Writes what waits, for ``CLOSE_S`` at most."""
        self._lines.put(None)
        self._thread.join(CLOSE_S)
        if self._thread.is_alive():
            threads.abandon(self._thread)
        super().close()


@contextmanager
def in_background() -> Iterator[None]:
    """Until the end of the block a thread writes what is logged."""
    root = logging.getLogger()
    handlers = root.handlers[:]
    background = BackgroundHandler(handlers)
    root.handlers[:] = [background]
    try:
        yield
    finally:
        root.handlers[:] = handlers
        background.close()


@functools.cache
def warn_once(logger: logging.Logger, message: str) -> None:
    """For what does not change while the process lives."""
    logger.warning("%s", message)


def _is_no_bad_request(record: logging.LogRecord) -> bool:
    """aiohttp logs clients that speak no HTTP: each port scan would be ten lines of traceback."""
    kind = record.exc_info[0] if record.exc_info else None
    return kind is None or (kind.__module__ != "aiohttp.http_exceptions" and kind.__name__ != "RequestPayloadError")


def set_up(*, debug: bool = False, plain: bool = False, as_json: bool = False) -> None:
    """Log to stderr. ``debug``: tracebacks and the lines of libraries too. ``plain``: warnings only, for
    commands that end soon. ``as_json``: for machines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_formatter(plain=plain, as_json=as_json))
    level = logging.DEBUG if debug else logging.WARNING if plain else logging.INFO
    logging.basicConfig(level=level, handlers=[handler], force=True)
    if not debug:
        handler.addFilter(Collapse())
        for name in ("aioice", "aiortc", "aiohttp.access", "libav", "asyncio"):
            logging.getLogger(name).setLevel(logging.WARNING)
        logging.getLogger("aiohttp.server").addFilter(_is_no_bad_request)


def _formatter(*, plain: bool, as_json: bool) -> logging.Formatter:
    if as_json:
        return JsonFormatter()
    if plain:
        return RedactingFormatter("streamd: %(message)s")
    if "JOURNAL_STREAM" in os.environ:
        return JournalFormatter("%(message)s")
    return RedactingFormatter("%(asctime)s %(levelname)-7s %(message)s", "%H:%M:%S")
