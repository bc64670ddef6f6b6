"""What the index knows of each recording, in one SQLite file beside them.

The file saves reading every recording again at a start, and no more: what is lost, damaged, of another version or
cannot be written is made anew, in memory where the disk does not take it. One thread.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from streamd.sinks.recording.length import LONGEST_S
from streamd.sinks.recording.names import SegmentName, moment_at

log = logging.getLogger(__name__)

FILE = ".index.sqlite"
"""No stream can be called so."""
MEMORY = Path(":memory:")
VERSION = 1
_SCHEMA = f"""
CREATE TABLE IF NOT EXISTS segment (
    moment TEXT, stream TEXT, view TEXT, started REAL NOT NULL, seconds REAL, whole INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL DEFAULT 0, modified_ns INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (moment, stream, view)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS of_stream ON segment (stream, moment, view);
PRAGMA user_version = {VERSION};
"""
_KEY = "moment = ? AND stream = ? AND view = ?"


class Row(NamedTuple):
    """One recording."""

    name: SegmentName
    started_s: float
    """Unix time."""
    seconds: float | None
    """None until it was measured, and while it grows."""
    whole: bool
    size_bytes: int
    modified_ns: int


@dataclass(frozen=True)
class Filter:
    """Which recordings; None is no limit."""

    stream: str | None = None
    view: str | None = None
    from_s: float | None = None
    """Unix time: that end later."""
    to_s: float | None = None
    """That begin earlier."""
    before: SegmentName | None = None
    """That are less than this name."""

    def sql(self) -> tuple[str, list[Any]]:
        parts: list[tuple[str, list[Any]]] = [("TRUE", [])]
        for key, value in (("stream = ?", self.stream), ("view = ?", self.view)):
            if value is not None:
                parts.append((key, [value]))
        if self.to_s is not None:  # by the key, too: else all that are newer would be looked at
            parts.append(("moment <= ? AND started < ?", [moment_at(self.to_s), self.to_s]))
        if self.before is not None:
            parts.append(("(moment, stream, view) < (?, ?, ?)", [*self.before]))
        if self.from_s is not None:
            parts.append(("moment >= ?", [moment_at(self.from_s - LONGEST_S)]))
            parts.append(("(seconds IS NULL OR started + seconds > ?)", [self.from_s]))
        return " AND ".join(part for part, _ in parts), [value for _, values in parts for value in values]


class Store:
    """Every method may raise sqlite3.Error: then open another one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._identity: tuple[int, int] | None = None
        # Nothing waits for the disk: a power cut may damage the file, and then it is made anew.
        self._db = sqlite3.connect(path, timeout=0.2, check_same_thread=False)
        try:
            for pragma in ("synchronous = OFF", "journal_mode = MEMORY", "cache_size = -4096"):
                self._db.execute(f"PRAGMA {pragma}")
            (version,) = self._db.execute("PRAGMA user_version").fetchone()
            (found,) = self._db.execute("PRAGMA quick_check(1)").fetchone()
            if version not in (0, VERSION) or found != "ok":
                raise sqlite3.DatabaseError(f"of version {version}, {found}")
            self._db.executescript(_SCHEMA)
            self._identity = self._on_disk()
        except BaseException:
            self._db.close()
            raise

    @property
    def is_lost(self) -> bool:
        """Whether its file has gone, or is another one."""
        return self.path != MEMORY and self._on_disk() != self._identity

    def _on_disk(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self.path)
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def close(self) -> None:
        with suppress(sqlite3.Error):
            self._db.close()

    def all(self) -> Iterator[tuple[SegmentName, float, float | None]]:
        """The names, when they began, and their seconds."""
        for *name, started, seconds in self._db.execute(
            "SELECT moment, stream, view, started, seconds FROM segment ORDER BY moment, stream, view"
        ):
            yield SegmentName(*name), started, seconds

    def add(self, names: Iterable[SegmentName]) -> None:
        rows = ((*name, name.started.timestamp()) for name in names)
        with self._db:
            self._db.executemany(
                "INSERT OR REPLACE INTO segment (moment, stream, view, started) VALUES (?, ?, ?, ?)", rows
            )

    def remove(self, names: Iterable[SegmentName]) -> None:
        with self._db:
            self._db.executemany(f"DELETE FROM segment WHERE {_KEY}", names)

    def measured(self, rows: Iterable[Row]) -> None:
        values = ((row.seconds, row.whole, row.size_bytes, row.modified_ns, *row.name) for row in rows)
        with self._db:
            self._db.executemany(
                f"UPDATE segment SET seconds = ?, whole = ?, bytes = ?, modified_ns = ? WHERE {_KEY}", values
            )

    def get(self, name: SegmentName) -> Row | None:
        return next(iter(self._rows(f"WHERE {_KEY}", list(name))), None)

    def find(self, filter: Filter, limit: int = -1) -> list[Row]:
        """The newest first; all, without ``limit``."""
        where, values = filter.sql()
        order = "ORDER BY moment DESC, stream DESC, view DESC LIMIT ?"
        return list(self._rows(f"WHERE {where} {order}", [*values, limit]))

    def _rows(self, rest: str, values: list[Any]) -> Iterator[Row]:
        columns = "moment, stream, view, started, seconds, whole, bytes, modified_ns"
        for *name, started, seconds, whole, size, modified in self._db.execute(
            f"SELECT {columns} FROM segment {rest}", values
        ):
            yield Row(SegmentName(*name), started, seconds, bool(whole), size, modified)


def open_store(directory: Path) -> Store:
    """On the disk of the recordings where that can be, else in memory. What is damaged is made anew."""
    path = directory / FILE
    with suppress(sqlite3.Error):
        return Store(path)
    log.info("%s: made anew", path)
    with suppress(OSError, sqlite3.Error):
        path.unlink()
        return Store(path)
    return memory_store()


def memory_store() -> Store:
    return Store(MEMORY)
