"""How streamd logs: one line per event, no password in any, no time where journald adds its own."""

from __future__ import annotations

import logging
import os
import sys

from streamd.redact import redact


class RedactingFormatter(logging.Formatter):
    """The last gate: whatever a library puts into a message or a traceback goes through it."""

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


def _is_ours(record: logging.LogRecord) -> bool:
    """Not what aiohttp tells of clients that speak no HTTP: each port scan would be ten lines of traceback."""
    kind = record.exc_info[0] if record.exc_info else None
    return kind is None or (kind.__module__ != "aiohttp.http_exceptions" and kind.__name__ != "RequestPayloadError")


def set_up(*, debug: bool = False, plain: bool = False) -> None:
    """Log to stderr. ``debug``: tracebacks and what libraries say too. ``plain``: warnings only, for
    commands that end soon."""
    handler = logging.StreamHandler(sys.stderr)
    form = "%(asctime)s %(levelname)-7s %(message)s"
    if plain:
        form = "streamd: %(message)s"
    elif "JOURNAL_STREAM" in os.environ:
        form = "%(levelname)s %(message)s"
    handler.setFormatter(RedactingFormatter(form, "%H:%M:%S"))
    level = logging.DEBUG if debug else logging.WARNING if plain else logging.INFO
    logging.basicConfig(level=level, handlers=[handler], force=True)
    if not debug:
        for name in ("aioice", "aiortc", "aiohttp.access", "libav", "asyncio"):
            logging.getLogger(name).setLevel(logging.WARNING)
        logging.getLogger("aiohttp.server").addFilter(_is_ours)
