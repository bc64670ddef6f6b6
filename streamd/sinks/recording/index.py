"""Which recordings there are, from when to when: listed and laid out on a line of time, however many they are.

The folders say which files there are, and each file how long it is: it is read once, when it is complete, and what it
said is kept in a ``Store``. One thread; every method may raise OSError when the disk is away.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from streamd.sinks.recording.length import LONGEST_S, measure
from streamd.sinks.recording.library import Library
from streamd.sinks.recording.names import SegmentName, parse_file
from streamd.sinks.recording.spans import TOUCH_S, Span, Spans
from streamd.sinks.recording.store import MEMORY, Filter, Row, Store, memory_store, open_store

log = logging.getLogger(__name__)
T = TypeVar("T")

RESOLUTION = 4096
"""Parts of a time line: what is less apart than one of them is drawn as one."""
MANY = 16
"""Files of a stream that have gone at once: the line of time of all others is made anew."""


@dataclass(frozen=True)
class Segment:
    """One recorded file."""

    name: SegmentName
    started: datetime
    size_bytes: int
    written: bool
    """By a recorder, now."""
    cut_short: bool
    """It has no end, and no recorder writes it: power or disk failed."""
    seconds: float
    """What can be played of it."""

    @property
    def ended_s(self) -> float:
        """Unix time."""
        return self.started.timestamp() + self.seconds


@dataclass(frozen=True)
class Track:
    """When a view of a stream was recorded."""

    stream: str
    view: str
    spans: list[Span]


@dataclass(frozen=True)
class Timeline:
    tracks: list[Track]
    """By stream and view; also those that were recorded at another time only."""
    before_s: float | None
    """When the last recording before it ends, Unix time."""
    after_s: float | None
    """When the first one after it begins."""
    complete: bool
    """False while recordings are read for the first time: some may be missing."""


class Index:
    def __init__(self, library: Library) -> None:
        self._library = library
        self._store: Store | None = None
        self._files: dict[str, frozenset[str]] = {}
        """Those in the store, by stream."""
        self._spans: defaultdict[tuple[str, str], Spans] = defaultdict(Spans)
        self._unread: defaultdict[str, list[str]] = defaultdict(list)
        """The files not measured yet, by stream, sorted: all together, and as objects for the garbage collector, they
        would hold up other threads."""
        self._growing: set[SegmentName] = set()

    def catch_up(self, within_s: float) -> bool:
        """Reads what has changed, the newest first, for so long. Whether there is more to be read."""
        return self._sure(lambda: self._catch_up(within_s))

    def page(self, limit: int, filter: Filter | None = None) -> tuple[list[Segment], SegmentName | None]:
        """The newest first, and the name to go on with; None at the end."""
        return self._sure(lambda: self._page(limit, filter or Filter()))

    def within(self, filter: Filter) -> list[Segment]:
        """All of them, the oldest first."""
        found, _ = self._sure(lambda: self._page(-1, filter))
        return found[::-1]

    def timeline(self, from_s: float, to_s: float, stream: str | None = None, view: str | None = None) -> Timeline:
        return self._sure(lambda: self._timeline(from_s, to_s, stream, view))

    def close(self) -> None:
        if self._store is not None:
            self._store.close()

    # --- the store

    def _sure(self, call: Callable[[], T]) -> T:
        """With a store that works: another one, where this one does not, and at last one in memory."""
        try:
            self._look()
            return call()
        except sqlite3.Error as error:
            log.info("the index of the recordings is made anew: %s", error)
        self._begin(open_store(self._library.directory))
        try:
            self._look()
            return call()
        except sqlite3.Error as error:  # the disk is full, say: it costs no more than the next start
            log.warning("the index of the recordings is kept in memory: %s", error)
        self._begin(memory_store())
        self._look()
        return call()

    def _reset(self, store: Store | None) -> None:
        if self._store is not None:
            self._store.close()
        self._store = store
        for known in (self._files, self._spans, self._unread, self._growing):
            known.clear()

    def _begin(self, store: Store) -> None:
        self._reset(store)
        files: defaultdict[str, set[str]] = defaultdict(set)
        for name, started_s, seconds in store.all():
            files[name.stream].add(name.file)
            if seconds is None:
                self._unread[name.stream].append(name.file)
            elif seconds > 0:
                self._spans[name.stream, name.view].add(started_s, started_s + seconds)
        self._files = {stream: frozenset(names) for stream, names in files.items()}

    def _opened(self) -> Store:
        if self._store is None or self._store.is_lost:
            self._begin(open_store(self._library.directory))
        assert self._store is not None
        return self._store

    # --- what there is

    def _look(self) -> None:
        """Takes note of the files that have come and gone."""
        streams = self._library.streams()
        if not streams and (self._store is None or self._store.path == MEMORY or self._store.is_lost):
            self._reset(None)  # the directory is not there yet, or its disk has gone
            return
        store = self._opened()
        for stream in {*streams, *self._files}:
            before, files = self._files.get(stream, frozenset()), self._library.files(stream)
            if files is before:
                continue
            self._forget(store, stream, before - files)
            if new := files - before:
                store.add(name for file in new if (name := parse_file(stream, file)))
                self._unread[stream] = sorted({*self._unread[stream], *new})
            self._files[stream] = files
        for name in [name for name in self._growing if not self._library.is_written(name)]:
            self._growing.remove(name)
            self._unread[name.stream].append(name.file)

    def _forget(self, store: Store, stream: str, files: frozenset[str]) -> None:
        gone = {name for file in files if (name := parse_file(stream, file))}
        if not gone:
            return
        freed = [row for name in gone if (row := store.get(name)) and row.seconds]
        store.remove(gone)
        self._unread[stream] = [file for file in self._unread[stream] if file not in files]
        self._growing.difference_update(gone)
        if len(freed) > MANY:
            self._lay_out(store, stream)
        else:
            for row in freed:
                self._free(store, row)

    def _free(self, store: Store, gone: Row) -> None:
        """What was joined with it ends where its own files do; and others may go on beside it, where the clock was
        set back."""
        start, end = gone.started_s - TOUCH_S, gone.started_s + (gone.seconds or 0.0) + TOUCH_S
        self._spans[gone.name.stream, gone.name.view].remove(start, end)
        for row in store.find(Filter(gone.name.stream, gone.name.view, start, end)):
            self._add(row)

    def _lay_out(self, store: Store, stream: str) -> None:
        """The same for all of a stream."""
        for key in [key for key in self._spans if key[0] == stream]:
            del self._spans[key]
        for row in reversed(store.find(Filter(stream))):
            self._add(row)

    def _add(self, row: Row) -> None:
        if row.seconds:
            self._spans[row.name.stream, row.name.view].add(row.started_s, row.started_s + row.seconds)

    def _catch_up(self, within_s: float) -> bool:
        until = time.monotonic() + within_s
        read: list[Row] = []
        while (stream := self._next_unread()) and time.monotonic() < until:
            name = parse_file(stream, self._unread[stream].pop())
            if name is None:
                continue
            if self._library.is_written(name):
                self._growing.add(name)
                continue
            try:
                row = self._read(name)
            except FileNotFoundError:  # removed meanwhile: its folder will say so
                continue
            except OSError as error:  # who asks for it tries again
                log.info("%s: cannot be read: %s", name.path, error)
                continue
            read.append(row)
            self._add(row)
        if read:
            self._opened().measured(read)
        return self._next_unread() is not None

    def _next_unread(self) -> str | None:
        """The stream that has the newest; None when all are measured."""
        return max(
            (stream for stream, files in self._unread.items() if files),
            key=lambda stream: self._unread[stream][-1],
            default=None,
        )

    def _read(self, name: SegmentName) -> Row:
        opened = self._library.open(name.path)
        try:
            length = measure(opened.descriptor, opened.size_bytes)
            modified_ns = os.fstat(opened.descriptor).st_mtime_ns
        finally:
            os.close(opened.descriptor)
        started_s = name.started.timestamp()
        return Row(name, started_s, length.seconds, length.is_whole, opened.size_bytes, modified_ns)

    # --- what is asked

    def _page(self, limit: int, filter: Filter) -> tuple[list[Segment], SegmentName | None]:
        if self._store is None:
            return [], None
        rows = self._store.find(filter, limit + 1 if limit >= 0 else -1)
        more = 0 <= limit < len(rows)
        rows = rows[:limit] if more else rows
        found, read = [], []
        for row in rows:
            try:
                segment, fresh = self._segment(row)
            except FileNotFoundError:  # removed meanwhile
                continue
            if fresh is not None:
                read.append(fresh)
            if filter.from_s is None or segment.written or segment.ended_s > filter.from_s:
                found.append(segment)
        if read:
            self._store.measured(read)
        return found, rows[-1].name if more else None

    def _segment(self, row: Row) -> tuple[Segment, Row | None]:
        """And the row, where its file was read just now, for it is new or was changed. Raises FileNotFoundError."""
        name, started = row.name, datetime.fromtimestamp(row.started_s, UTC)
        written = row.seconds is None and self._library.is_written(name)  # first: it may be finished meanwhile
        about = self._library.status(name)
        if written:
            return Segment(name, started, about.st_size, True, False, self._grown_s(name, about)), None
        fresh = None
        if row.seconds is None or (row.size_bytes, row.modified_ns) != (about.st_size, about.st_mtime_ns):
            try:
                row = fresh = self._read(name)
            except FileNotFoundError:
                raise
            except OSError as error:  # a bad sector under one: the others are listed, and it can be deleted
                log.debug("%s: cannot be read: %s", name.path, error)
                return Segment(name, started, about.st_size, False, True, 0.0), None
        return Segment(name, started, row.size_bytes, False, not row.whole, row.seconds or 0.0), fresh

    def _timeline(self, from_s: float, to_s: float, stream: str | None, view: str | None) -> Timeline:
        is_more = self._catch_up(0.02)
        growing = self._grown()
        tracks, before, after = [], [], []
        for key in sorted({*self._spans, *growing}):
            if stream not in (None, key[0]) or view not in (None, key[1]):
                continue
            found: list[Span] = []
            for spans in (self._spans[key], growing[key]):
                for span in spans.within(from_s, to_s, (to_s - from_s) / RESOLUTION):
                    _join(found, span)
                before.append(spans.before(from_s))
                after.append(spans.after(to_s))
            if found or any(at is not None for at in (*before[-2:], *after[-2:])):
                tracks.append(Track(*key, found))
        ends, starts = [at for at in before if at is not None], [at for at in after if at is not None]
        return Timeline(tracks, max(ends, default=None), min(starts, default=None), not is_more)

    def _grown(self) -> defaultdict[tuple[str, str], Spans]:
        """From when to when the recordings go that are written now."""
        found: defaultdict[tuple[str, str], Spans] = defaultdict(Spans)
        for name in self._growing:
            try:
                seconds = self._grown_s(name, self._library.status(name))
            except FileNotFoundError:
                continue
            started = name.started.timestamp()
            found[name.stream, name.view].add(started, started + seconds)
        return found

    def _grown_s(self, name: SegmentName, about: os.stat_result) -> float:
        """Of one that is written now. By the file itself where the clock was set meanwhile, which takes longer.
        Raises FileNotFoundError."""
        seconds = about.st_mtime - name.started.timestamp()
        return seconds if 0 <= seconds <= LONGEST_S else self._read(name).seconds or 0.0


def _join(spans: list[Span], last: Span) -> None:
    """Adds one that is newer."""
    if spans and last[0] - spans[-1][1] <= TOUCH_S:
        spans[-1] = spans[-1][0], max(spans[-1][1], last[1])
    else:
        spans.append(last)
