"""The file of the streams that the API has added. All of it blocks: for threads.

It holds passwords of cameras, so only its owner may read it. It is whole at any moment, also after a power cut.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from streamd.config.load import parse
from streamd.config.sections import StreamConfig
from streamd.errors import ConfigError
from streamd.host.whole_file import sync

log = logging.getLogger(__name__)

VERSION = 1
MAX_BYTES = 32 * 1024 * 1024
"""Far more than the API lets anyone add."""
MAX_DAMAGED = 5
"""Files that were put aside; the oldest goes."""

Entries = dict[str, Any]
"""What the file says of each stream, by name."""


class InUse(Exception):
    """Another process keeps its streams in this file."""


@dataclass(frozen=True)
class Content:
    entries: Entries = field(default_factory=dict)
    streams: dict[str, StreamConfig] = field(default_factory=dict)
    """Those of the entries that this version understands."""
    other: dict[str, Any] = field(default_factory=lambda: {"version": VERSION})
    """What else is in the file: written again as it is."""


class KeptFile:
    """One thread at a time reads or writes; any thread may ``release``."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._busy = threading.Lock()
        self._released = False
        self._handle: int | None = None
        """Holds the lock against other processes; without it nothing is written."""

    def read(self) -> Content:
        """Takes the lock, and logs what cannot be read. Nothing once it is released. Raises InUse and OSError."""
        with self._working():
            if self._released:
                return Content()
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._take_lock()
            try:
                with self.path.open("rb") as file:
                    document = _parsed(file.read(MAX_BYTES))
            except FileNotFoundError:
                return Content()
            except ValueError as error:
                aside = self._put_aside()
                log.error("%s is damaged: %s; put aside as %s, and starting without it", self.path, error, aside.name)
                return Content()
            return self._understood(document.pop("streams", {}), document)

    def write(self, entries: Entries, other: dict[str, Any]) -> None:
        """Nothing once it is released. Raises OSError."""
        with self._working():
            if self._handle is not None:
                self._replace(json.dumps({**other, "streams": entries}, indent=1).encode())

    def release(self) -> None:
        """Lets another process have the file: at once, or when the thread that reads or writes has ended."""
        self._released = True
        if self._busy.acquire(blocking=False):
            try:
                if self._handle is not None:
                    os.close(self._handle)
                    self._handle = None
            finally:
                self._busy.release()

    @contextmanager
    def _working(self) -> Iterator[None]:
        try:
            with self._busy:
                yield
        finally:
            if self._released:
                self.release()

    def _take_lock(self) -> None:
        if self._handle is not None:
            return
        handle = os.open(self.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BaseException as error:
            os.close(handle)
            raise InUse if isinstance(error, BlockingIOError) else error from None
        self._handle = handle

    def _understood(self, entries: Entries, other: dict[str, Any]) -> Content:
        """Stream by stream: one that a later version wrote must not take the others along."""
        if other.setdefault("version", VERSION) != VERSION:
            log.warning("%s: another version of streamd wrote it: what this one understands is used", self.path)
        streams = {}
        for name, entry in entries.items():
            try:
                streams[name] = parse({"streams": {name: entry}}).streams[name]
            except ConfigError as error:
                problem = error.problems[0]
                where = ascii(problem.path)  # a name may hold anything
                log.error("%s: a stream is not started, and left as it is: %s: %s", self.path, where, problem.reason)
        return Content(entries, streams, other)

    def _put_aside(self) -> Path:
        """Never over an earlier one."""
        first = self.path.with_suffix(".damaged")
        earlier = {_number(path): path for path in first.parent.glob(f"{first.name}*")}
        number = max(earlier, default=0) + 1
        aside = first if number == 1 else first.with_name(f"{first.name}-{number}")
        os.replace(self.path, aside)
        for old in sorted(earlier)[: -(MAX_DAMAGED - 1)]:
            earlier[old].unlink()
        return aside

    def _replace(self, data: bytes) -> None:
        new = self.path.with_suffix(".new")
        handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with open(handle, "wb") as file:
            os.fchmod(handle, 0o600)
            file.write(data)
            file.flush()
            os.fsync(handle)
        os.replace(new, self.path)
        sync(self.path.parent)


def entry(config: StreamConfig) -> Any:
    """What was set only: the rest follows the defaults of the version that reads it."""
    return config.model_dump(mode="json", exclude_unset=True)


def _number(damaged: Path) -> int:
    digits = damaged.name.rpartition("-")[2]
    return int(digits) if digits.isascii() and digits.isdigit() else 1


def _parsed(data: bytes) -> dict[str, Any]:
    """Raises ValueError in one line, without any of the content, which may be a password."""
    try:
        document: Any = json.loads(data)
        json.dumps(document, indent=1)  # what is nested too deep for this could never be written again
    except (ValueError, RecursionError):
        raise ValueError("is not JSON") from None
    if not isinstance(document, dict) or not isinstance(document.get("streams", {}), dict):
        raise ValueError("is not a list of streams")
    return document
