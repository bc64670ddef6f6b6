"""The streams that the API has added, kept in a file across restarts.

It holds passwords of cameras, so only its owner may read it. It is whole at any moment, also after a power cut; one
that is damaged all the same is put aside, and the daemon starts without.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from streamd.concurrency import threads
from streamd.config.load import parse
from streamd.config.sections import StreamConfig
from streamd.depth.files import sync
from streamd.errors import ConfigError

log = logging.getLogger(__name__)

VERSION = 1
MAX_BYTES = 32 * 1024 * 1024
"""Far more than the API lets anyone add."""
WAIT_S = 2.0
"""How long a change waits for the disk; one that takes longer goes on by itself."""


class KeptStreams:
    """Lives on the event loop; a thread reads and writes."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = asyncio.Lock()
        self._owner: int | None = None
        """The descriptor that holds the lock against other processes; without it nothing is written."""
        self._wanted = self._written = _serialised({})
        self._writing: asyncio.Future[None] | None = None

    async def load(self) -> dict[str, StreamConfig]:
        """Once, at the start. Logs what is wrong."""
        found: dict[str, StreamConfig] = {}
        reading = _in_thread(lambda: found.update(self._read()))
        await asyncio.wait([reading], timeout=WAIT_S)
        if not reading.done():
            log.error("%s: the disk does not answer: going on without the streams that were kept", self._file)
            return {}
        return found if self._is_done(reading) else {}

    async def save(self, streams: Mapping[str, StreamConfig]) -> None:
        """Returns when these are on the disk, or it took too long. Logs what is wrong."""
        self._wanted = _serialised(streams)
        try:
            async with asyncio.timeout(WAIT_S), self._lock:
                await self._save()
        except TimeoutError:
            log.warning("%s: the disk is slow: a change of streams is not kept yet", self._file)

    async def _save(self) -> None:
        """Writes the newest state: changes that wait meanwhile are written along with it."""
        if self._writing is not None:
            await asyncio.wait([self._writing])
        if self._wanted != self._written and self._owner is not None:
            content = self._wanted
            self._writing = _in_thread(lambda: self._write(content))
            await asyncio.wait([self._writing])
            self._is_done(self._writing)

    def _is_done(self, call: asyncio.Future[None]) -> bool:
        """Without an error."""
        error = call.exception()
        if isinstance(error, OSError):
            log.error("%s: streams that the API adds are not kept: %s", self._file, error.strerror)
        elif error is not None:
            log.error("%s: internal error", self._file, exc_info=error)
        return error is None

    def close(self) -> None:
        """Another process may keep its streams here from now on."""
        if self._owner is not None:
            os.close(self._owner)
            self._owner = None

    # -- blocking -------------------------------------------------------------------------------

    def _read(self) -> dict[str, StreamConfig]:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self._file.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            streams = self._streams()
        except BlockingIOError:
            os.close(handle)
            log.warning("%s belongs to another streamd that runs: streams that the API adds are not kept", self._file)
            return {}
        except BaseException:
            os.close(handle)
            raise
        self._owner = handle
        self._wanted = self._written = _serialised(streams)
        return streams

    def _streams(self) -> dict[str, StreamConfig]:
        try:
            with self._file.open("rb") as file:
                return _parsed(file.read(MAX_BYTES))
        except FileNotFoundError:
            return {}
        except ValueError as error:
            aside = self._file.with_suffix(".damaged")
            os.replace(self._file, aside)
            log.error("%s is damaged: %s; put aside as %s, and starting without it", self._file, error, aside.name)
            return {}

    def _write(self, content: bytes) -> None:
        new = self._file.with_suffix(".new")
        handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with open(handle, "wb") as file:
            os.fchmod(handle, 0o600)
            file.write(content)
            file.flush()
            os.fsync(handle)
        os.replace(new, self._file)
        sync(self._file.parent)
        self._written = content


def _in_thread(call: Callable[[], None]) -> asyncio.Future[None]:
    return asyncio.wrap_future(threads.start("kept-streams", call).finished)


def _serialised(streams: Mapping[str, StreamConfig]) -> bytes:
    """What was set only: the rest follows the defaults of the version that reads it."""
    content = {name: config.model_dump(mode="json", exclude_unset=True) for name, config in streams.items()}
    return json.dumps({"version": VERSION, "streams": content}, indent=1).encode()


def _parsed(data: bytes) -> dict[str, StreamConfig]:
    """Raises ValueError in one line, without any of the content, which may be a password."""
    try:
        content: Any = json.loads(data)
        if content["version"] != VERSION:
            raise ValueError(f"version {content['version']} is unknown")
        return parse({"streams": content["streams"]}).streams
    except ConfigError as error:
        raise ValueError("; ".join(f"{problem.path}: {problem.reason}" for problem in error.problems[:3])) from None
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
        raise ValueError("is not JSON") from None
    except (TypeError, KeyError):
        raise ValueError("is not a list of streams") from None
