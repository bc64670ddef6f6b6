"""What commands say: on stdout what is done, on stderr in one line what failed."""

from __future__ import annotations

import logging
import sys

from streamd.config.redact import printable, redact
from streamd.errors import ConfigError, StreamdError
from streamd.host import standard_streams
from streamd.host.standard_streams import OutputLost

log = logging.getLogger(__name__)


def tell(line: str) -> None:
    """What is done is done, though nobody can read of it."""
    try:
        print(line, flush=True)
    except (BrokenPipeError, OutputLost):
        standard_streams.drop_output()


def report(error: StreamdError) -> int:
    """The exit code."""
    log.debug("traceback", exc_info=True)
    for problem in error.problems if isinstance(error, ConfigError) else [error]:
        print(error_line(problem), file=sys.stderr, flush=True)
    return error.exit_code


def error_line(problem: object) -> str:
    return f"streamd: {printable(redact(str(problem)))}"


def report_fault(error: Exception) -> None:
    """What it was met at, and what to do, in one line."""
    log.debug("traceback", exc_info=True)
    what = error.__notes__[0] if hasattr(error, "__notes__") else "at work"
    text = printable(redact(f"{what}: a fault of streamd's: {error!r}"))
    print(f"streamd: {text}; please report it with what --debug shows", file=sys.stderr, flush=True)
