"""`streamd run`."""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import threading
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from streamd.cli.network import model_options, model_overrides, model_store
from streamd.cli.output import report, tell
from streamd.concurrency import threads
from streamd.config.address import SourceAddress, SourceKind, as_it_is
from streamd.config.load import load
from streamd.config.redact import redact, redact_source, shorten
from streamd.config.sections import Config
from streamd.errors import SourceUnsupported, StreamdError, UsageError
from streamd.host import allocator
from streamd.telemetry import logs

EXIT_S = 4.0
"""After SIGTERM the daemon exits, whatever holds it: systemd kills after 5 s."""

HELP = "Publish live depth of cameras and files; without any, of the built-in clip."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", nargs="*", metavar="SOURCE", help="URL, /dev/videoN, file, demo: or lavfi:GRAPH")
    parser.add_argument("--config", type=Path, metavar="FILE", help="TOML file; `streamd schema` explains it")
    parser.add_argument("--listen", metavar="HOST:PORT", help="where page and API answer (127.0.0.1:8080)")
    parser.add_argument(
        "--log-format", choices=("text", "json"), default="text", help="one JSON object a line, or text"
    )
    parser.add_argument("--record", type=Path, metavar="DIR", help="record depth into DIR")
    model_options(parser)


def act(options: argparse.Namespace) -> None:
    overrides: dict[str, Any] = {"model": model_overrides(options)}
    if options.listen:
        overrides["server"] = {"listen": options.listen}
    if options.record:
        overrides["recording"] = {"directory": str(options.record)}
    sources = [as_it_is(source) for source in options.source] or ([] if options.config else ["demo:"])
    overrides["streams"] = {name: {"source": source} for name, source in _named(sources).items()}
    read = partial(load, options.config, overrides=overrides)
    config = read()
    _look_at_files(config, overrides["streams"])
    allocator.configure()
    code = 0
    try:
        with logs.in_background():
            asyncio.run(_serve(config, read))
    except StreamdError as error:
        if not threads.any_abandoned():
            raise
        code = report(error)
    if threads.any_abandoned():  # one that a camera or a disk holds: all that matters is done
        os._exit(code)


async def _serve(config: Config, reload: Callable[[], Config]) -> None:
    from streamd.daemon import Daemon

    asyncio.get_running_loop().set_default_executor(threads.LeftExecutor(thread_name_prefix="resolver"))
    daemon = Daemon(config, model_store(), reload)
    daemon.on_stop = lambda: threads.exit_after(EXIT_S, lambda: int(daemon.exhausted))
    daemon.install_signals()
    try:
        await daemon.run(on_listening=lambda url: tell(f"Watch live depth at {url}"))
    finally:
        daemon.ignore_signals()


def _named(sources: list[str]) -> dict[str, str]:
    """A short name for each source, without its password."""
    named: dict[str, str] = {}
    for source in sources:
        try:
            address = SourceAddress.parse(source)
        except ValueError as error:
            raise UsageError(f"{shorten(redact_source(source), 80)}: {error}") from None
        if address.scheme:
            text = address.host + redact(re.split("[?#]", address.path, maxsplit=1)[0])
        elif address.kind is SourceKind.LAVFI:
            text = source.partition("=")[0]
        else:
            text = Path(source.rstrip(":")).stem
        stem = re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-_.")[:48] or "stream"
        name, number = stem, 2
        while name in named:
            name, number = f"{stem}-{number}", number + 1
        named[name] = source
    return named


def _look_at_files(config: Config, names: Iterable[str]) -> None:
    """Reports a file of the command line that is missing or no video at once: it is a typing error. So is what this
    installation cannot open."""
    from streamd.sources import FileSource, open_source
    from streamd.sources.protocols import lacking

    for name in names:
        source = open_source(config.streams[name], threading.Event())
        if reason := lacking(config.streams[name].source):
            raise SourceUnsupported(source.name, reason)
        if isinstance(source, FileSource):
            source.probe()
