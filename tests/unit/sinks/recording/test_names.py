"""The one codec of file names: there and back, in order of time, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from streamd.config.sections import VIEWS
from streamd.sinks.recording.names import SegmentName, name_segment, parse_file, parse_path, position

MOMENT = datetime(2026, 11, 25, 3, 41, 23, 500_999, UTC)


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize(
    "stream", ["porch", "porch-side", "porch.side", "a-depth.mp4", "2026-11-25T03-41-23.500Z", "x" * 64]
)
def test_there_and_back(stream: str, view: str) -> None:
    name = name_segment(stream, view, MOMENT)
    assert name.path == f"{stream}/2026-11-25T03-41-23.500Z-{view}.mp4"
    assert parse_path(name.path) == name
    assert (name.stream, name.view, name.started) == (stream, view, MOMENT.replace(microsecond=500_000))


def test_the_time_is_utc() -> None:
    there = MOMENT.astimezone(timezone(timedelta(hours=5, minutes=30)))
    assert name_segment("porch", "depth", there) == name_segment("porch", "depth", MOMENT)


def test_they_sort_by_time_whatever_stream_and_view() -> None:
    moments = [
        datetime(1970, 1, 1, tzinfo=UTC),
        MOMENT,
        MOMENT + timedelta(milliseconds=1),
        datetime(2035, 1, 1, tzinfo=UTC),
    ]
    names = [name_segment(stream, view, moment) for moment in moments for stream in ("a", "a-b") for view in VIEWS]
    shuffled = sorted(names, key=lambda name: name.path)
    assert [name.moment for name in sorted(shuffled)] == [name.moment for name in names]


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "porch",
        "porch/",
        "porch/notes.txt",
        "porch/2026-11-25T03-41-23.500Z-x-ray.mp4",
        "porch/2026-02-30T03-41-23.500Z-depth.mp4",
        "porch/2026-11-25T03-41-23.500Z-depth.mp4\n",
        "porch\n/2026-11-25T03-41-23.500Z-depth.mp4",
        "porch/2026-11-25T03-41-23.500Z-depth.mp4\0",
        "porch/\N{ARABIC-INDIC DIGIT TWO}026-11-25T03-41-23.500Z-depth.mp4",
        "porch\\2026-11-25T03-41-23.500Z-depth.mp4",
        "porch%2f2026-11-25T03-41-23.500Z-depth.mp4",
        "../porch/2026-11-25T03-41-23.500Z-depth.mp4",
        "./2026-11-25T03-41-23.500Z-depth.mp4",
        "../2026-11-25T03-41-23.500Z-depth.mp4",
        "porch//2026-11-25T03-41-23.500Z-depth.mp4",
        "/porch/2026-11-25T03-41-23.500Z-depth.mp4",
        f"{'x' * 65}/2026-11-25T03-41-23.500Z-depth.mp4",
    ],
)
def test_what_is_no_path_of_a_recording(path: str) -> None:
    with pytest.raises(ValueError, match="not the path of a recording"):
        parse_path(path)


def test_a_file_that_is_none() -> None:
    assert parse_file("porch", "upload.mp4") is None
    assert parse_file("porch", "2026-11-25T25-41-23.500Z-depth.mp4") is None


def test_a_position_is_a_path_or_a_time() -> None:
    name = name_segment("porch", "depth", MOMENT)
    assert position(name.path) == name
    at = position("2026-11-25T04:41:23.500+01:00")
    assert at == SegmentName(name.moment, "", "")
    assert at < name, "what began at that time is not before it"
    assert position("2026-11-25T03:41:23.500").moment == name.moment
    assert position("0999-01-01T00:00:00Z").moment == "0999-01-01T00-00-00.000Z"


@pytest.mark.parametrize("text", ["yesterday", "\0", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "a/b"])
def test_what_is_no_position(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        position(text)
