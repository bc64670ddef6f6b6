"""What the index keeps on disk, and that nothing is lost but time when it cannot."""

from __future__ import annotations

import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest

from streamd.sinks.recording.names import SegmentName, name_segment
from streamd.sinks.recording.store import FILE, MEMORY, Filter, Row, Store, memory_store, open_store
from tests.support.segments import BEGIN, BEGIN_S


def name(second: int, stream: str = "porch", view: str = "depth") -> SegmentName:
    return name_segment(stream, view, BEGIN + timedelta(seconds=second))


def filled() -> Store:
    store = memory_store()
    names = [name(second, stream) for second in range(0, 600, 60) for stream in ("porch", "yard")]
    store.add(names)
    store.measured(Row(each, each.started.timestamp(), 60.0, True, 7, 9) for each in names)
    return store


def seconds(rows: list[Row]) -> list[int]:
    return [round(row.started_s - BEGIN_S) for row in rows]


def test_the_newest_first_with_filters() -> None:
    store = filled()
    assert [row.name for row in store.find(Filter(), 2)] == [name(540, "yard"), name(540)]
    assert seconds(store.find(Filter("porch", from_s=BEGIN_S + 90, to_s=BEGIN_S + 240))) == [180, 120, 60]
    assert seconds(store.find(Filter("porch", before=name(120)))) == [60, 0]
    assert store.find(Filter(view="source")) == []
    assert seconds(store.find(Filter("yard", to_s=BEGIN_S + 60))) == [0], "what begins at its end is outside"
    store.close()


def test_what_was_not_measured_may_reach_anywhere() -> None:
    store = memory_store()
    store.add([name(0)])
    assert store.find(Filter(from_s=BEGIN_S + 3600)) == [Row(name(0), BEGIN_S, None, False, 0, 0)]
    assert store.find(Filter(from_s=BEGIN_S + 48 * 3600)) == []
    store.close()


def test_it_is_kept(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.add([name(0), name(60)])
    store.measured([Row(name(0), BEGIN_S, 60.0, True, 7, 9)])
    store.remove([name(60)])
    store.close()
    again = open_store(tmp_path)
    assert list(again.all()) == [(name(0), BEGIN_S, 60.0)]
    assert again.get(name(0)) == Row(name(0), BEGIN_S, 60.0, True, 7, 9)
    again.close()


@pytest.mark.parametrize("damage", ["garbage", "version", "middle", "empty"])
def test_what_is_damaged_is_made_anew(tmp_path: Path, damage: str) -> None:
    path = tmp_path / FILE
    store = open_store(tmp_path)
    store.add([name(second) for second in range(5000)])
    store.close()
    if damage == "garbage":
        path.write_bytes(b"no database" * 1000)
    elif damage == "middle":
        data = bytearray(path.read_bytes())
        data[8192:16384] = b"\xff" * 8192
        path.write_bytes(data)
    elif damage == "empty":
        path.write_bytes(b"")
    else:
        with sqlite3.connect(path) as other:
            other.execute("PRAGMA user_version = 99")
        other.close()
    again = open_store(tmp_path)
    assert (list(again.all()), again.path) == ([], path)
    again.add([name(0)])
    again.close()


def test_where_it_cannot_be_written_it_is_in_memory(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    store = open_store(tmp_path)
    assert store.path == MEMORY
    store.close()


def test_one_that_has_gone_is_seen(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    assert not store.is_lost
    (tmp_path / FILE).unlink()
    assert store.is_lost
    store.close()
