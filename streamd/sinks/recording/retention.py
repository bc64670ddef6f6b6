"""Deletes the recordings that the rules do not keep, in a thread of its own.

The clock alone does not show how old a recording is: a box without a battery begins in 1970, and jumps when it gets the
time from the network. No recording may be lost by that. The age of what was recorded since the start goes by the
monotonic clock, its order by when it appeared. What was there before goes by its name; but a name from 1970, or from
the future, is not believed, and then its age counts from when it was first seen.
"""

from __future__ import annotations

import heapq
import logging
import math
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

from streamd.concurrency.threads import Periodic
from streamd.config.sections import RecordingConfig
from streamd.sinks.recording.length import LONGEST_S
from streamd.sinks.recording.library import BeingWritten, Library
from streamd.sinks.recording.names import parse_path

log = logging.getLogger(__name__)

PRUNE_EVERY_S = 60.0
EARLIEST_S = datetime(2025, 1, 1, tzinfo=UTC).timestamp()
"""streamd is younger than this: a clock with an earlier time has not been set."""


class Retention:
    """Remembers what it has seen. One thread."""

    def __init__(
        self,
        library: Library,
        rules: RecordingConfig,
        *,
        now: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._library = library
        self._segment_s = rules.segment_seconds
        self._max_age_s = 3600 * rules.max_age_hours if rules.max_age_hours is not None else math.inf
        self._max_bytes = 1e9 * rules.max_gb if rules.max_gb is not None else math.inf
        self._now = now
        self._monotonic = monotonic
        # Of each recording, by path. In columns: the garbage collector would look at a hundred thousand objects
        # again and again, and hold all threads meanwhile.
        self._sizes: dict[str, int] = {}
        """In the order of recording, as far as that is known."""
        self._seen_at: dict[str, float] = {}
        """By the monotonic clock: when it was first seen, or last seen being written."""
        self._started_s: dict[str, float] = {}
        """Unix time, as its name has it."""
        self._ended_s: dict[str, float] = {}
        """Unix time, as far as its name can be believed."""
        self._growing: set[str] = set()
        self._files: dict[str, frozenset[str]] = {}
        """Of each stream, as they were seen last."""
        self._is_first_scan = True
        self._failure = ""

    def prune(self, stop: threading.Event) -> int:
        """Deletes, the oldest first, what is too old, and more while all together have too many bytes, until
        ``stop`` is set. Returns how many went. An OSError is logged: the disk may be away for a while."""
        self._failure, before = "", self._failure
        try:
            self._scan()
        except OSError as error:
            self._failure = f"recordings cannot be listed: {error}"
        deleted = 0 if self._failure else self._delete_superfluous(stop)
        if deleted:
            log.info("deleted %d old recordings", deleted)
        if self._failure and self._failure != before:
            log.warning("%s", self._failure)
        return deleted

    def _delete_superfluous(self, stop: threading.Event) -> int:
        deleted, total = 0, sum(self._sizes.values())
        for path in list(self._sizes):
            if stop.is_set():
                break
            size = self._sizes[path]
            if (total > self._max_bytes or self._age_s(path) > self._max_age_s) and self._delete(path):
                total -= size
                deleted += 1
        return deleted

    def _delete(self, path: str) -> bool:
        try:
            self._library.delete(path)
        except BeingWritten:
            return False
        except FileNotFoundError:
            pass
        except OSError as error:
            self._failure = self._failure or f"old recordings cannot be deleted: {path}: {error.strerror}"
            return False
        self._forget(path)
        return True

    def _forget(self, path: str) -> None:
        for column in (self._sizes, self._seen_at, self._started_s, self._ended_s):
            column.pop(path, None)
        self._growing.discard(path)

    def _scan(self) -> None:
        """Raises OSError."""
        streams = self._library.streams()
        new: list[list[tuple[str, str]]] = []
        for stream in {*streams, *self._files}:
            before, files = self._files.get(stream, frozenset()), self._library.files(stream)
            new.append(sorted((file, stream) for file in files - before))
            for file in before - files:
                self._forget(f"{stream}/{file}")
            self._files[stream] = files
        for file, stream in heapq.merge(*new):  # to sort them all at once would hold up other threads
            path = f"{stream}/{file}"
            self._sizes[path], self._seen_at[path] = 0, self._monotonic()
            self._started_s[path] = parse_path(path).started.timestamp()
            self._growing.add(path)
        for path in [path for path in self._sizes if path in self._growing]:
            self._measure(path)
        self._is_first_scan &= not streams

    def _measure(self, path: str) -> None:
        """Raises OSError."""
        name = parse_path(path)
        is_written = self._library.is_written(name)  # first: it may end meanwhile
        try:
            about = self._library.status(name)
        except FileNotFoundError:
            return
        self._sizes[path] = about.st_size
        if is_written:
            self._seen_at[path] = self._monotonic()
            return
        self._growing.discard(path)
        if self._is_first_scan:
            started_s = self._started_s[path]
            written_s = about.st_mtime - started_s  # files that were copied or restored have another time
            self._ended_s[path] = started_s + (written_s if 0 <= written_s <= LONGEST_S else self._segment_s)

    def _age_s(self, path: str) -> float:
        """Since it ended; what we are sure of, when its name cannot be believed."""
        age_s, now_s, ended_s = self._monotonic() - self._seen_at[path], self._now(), self._ended_s.get(path)
        if ended_s is None or not EARLIEST_S <= self._started_s[path] <= now_s:
            return age_s
        return max(age_s, now_s - ended_s)


def start_retention(rules: RecordingConfig) -> Periodic | None:
    """None when the rules keep everything."""
    if rules.directory is None or (rules.max_age_hours is None and rules.max_gb is None):
        return None
    return Periodic("retention", Retention(Library(rules.directory), rules).prune, PRUNE_EVERY_S)
