"""Recordings: what is in the segments, also after kill -9, and what a full or slow disk does."""

from __future__ import annotations

import errno
import io
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from streamd.concurrency import threads
from streamd.errors import DiskFull, SinkError, StreamGone
from streamd.media.depth16 import read_depth
from streamd.media.encode import LiveEncoder
from streamd.media.frames import CLOCK_RATE, EncodedPacket, Stamp
from streamd.sinks.recording import recorder, segment
from streamd.sinks.recording.recorder import Recorder, RecorderEvents, RecordingRules
from tests.support.clips import HEIGHT, WIDTH, frames_of, number_in, picture_of, times_of
from tests.support.segments import depth_of, depths
from tests.support.waiting import scaled

pytestmark = pytest.mark.timeout(30)

FPS = 25


class Hub:
    """One seat, and notes of what it asks for."""

    def __init__(self) -> None:
        self.seats: list[Recorder] = []
        self.requests: list[str] = []

    def join(self, seat: Recorder) -> None:
        self.seats.append(seat)

    def leave(self, seat: Recorder) -> None:
        if seat in self.seats:
            self.seats.remove(seat)

    def request_keyframe(self, reason: str) -> None:
        self.requests.append(reason)


class Camera:
    """Numbered pictures at 25 fps of their own clock, as fast as they are asked for."""

    def __init__(self, size: tuple[int, int] = (WIDTH, HEIGHT), start: int = 0) -> None:
        self._encoder, self._size, self._number = LiveEncoder(*size, kbps=500, fps=FPS), size, start

    def shoot(self, *, key: bool = False) -> EncodedPacket:
        if key:
            self._encoder.request_keyframe()
            self._encoder._last_keyframe = 0.0
        number, self._number = self._number, self._number + 1
        # A recording starts at some time, not at 0.
        stamp = Stamp(number, CLOCK_RATE * 1000 + number * CLOCK_RATE // FPS, time.monotonic())
        (packet,) = self._encoder.encode(picture_of(number, *self._size), stamp)
        return packet

    def film(self, count: int) -> list[EncodedPacket]:
        return [self.shoot() for _ in range(count)]


class Bench:
    def __init__(
        self, folder: Path, *, segment_s: float = 60, min_free: float = 0, was_full: bool = False, view: str = "depth"
    ) -> None:
        self.folder, self.hub, self.bytes, self.left_out = folder, Hub(), 0, 0
        self.health: list[str | None] = []
        rules = RecordingRules(folder / "rec", segment_s, min_free)
        self.recorder = Recorder(
            self.hub,  # type: ignore[arg-type]
            stream="porch",
            view=view,
            rules=rules,
            events=RecorderEvents(self._count, self._overflow, self.health.append),
            was_full=was_full,
        )

    def _count(self, written: int) -> None:
        self.bytes += written

    def _overflow(self) -> None:
        self.left_out += 1

    def push(self, *packets: EncodedPacket) -> None:
        for packet in packets:
            self.recorder.push(packet)

    def push_all(self, camera: Camera, count: int) -> None:
        """As the hub does: a keyframe when it is asked for; never faster than the disk."""
        seen = 0
        for _ in range(count):
            self.push(camera.shoot(key=len(self.hub.requests) > seen))
            seen = len(self.hub.requests)
            self.written()

    def written(self) -> None:
        until(lambda: not len(self.recorder._queue) or self.recorder.finished.done())

    def finish(self) -> BaseException | None:
        self.recorder.close()
        return self.recorder.finished.exception(scaled(5))

    @property
    def segments(self) -> list[Path]:
        return sorted((self.folder / "rec").rglob("*.mp4"))


def until(done: Callable[[], bool], within_s: float = 5) -> None:
    give_up_at = time.monotonic() + scaled(within_s)
    while not done():
        assert time.monotonic() < give_up_at
        time.sleep(0.001)


def numbers(path: Path) -> list[int]:
    return [number_in(frame) for frame in frames_of(path)]


def holds(path: Path, expected: Sequence[int]) -> bool:
    """Of a file that may be written just now."""
    with suppress(av.FFmpegError):
        return numbers(path) == list(expected)
    return False


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.finish()


def test_a_segment_holds_every_picture_with_its_time_from_zero(bench: Bench) -> None:
    bench.push(*Camera().film(60))
    assert bench.finish() is None
    (segment,) = bench.segments
    assert segment.parent == bench.folder / "rec" / "porch"
    assert segment.name.endswith("Z-depth.mp4")
    assert numbers(segment) == list(range(60))
    assert times_of(segment) == [Fraction(n, FPS) for n in range(60)]
    assert bench.bytes == segment.stat().st_size
    assert bench.hub.seats == [], "the seat is free again"


def test_it_begins_at_a_keyframe(bench: Bench) -> None:
    camera = Camera()
    bench.push(*camera.film(30)[10:], camera.shoot(key=True), *camera.film(9))
    assert bench.finish() is None
    assert numbers(bench.segments[0]) == list(range(30, 40))


def test_segments_change_at_a_keyframe_and_nothing_is_lost_between(tmp_path: Path) -> None:
    bench = Bench(tmp_path, segment_s=1)
    bench.push_all(Camera(), 90)
    assert bench.finish() is None
    assert bench.hub.requests == ["segment"] * 3
    parts = [numbers(segment) for segment in bench.segments]
    assert sum(parts, []) == list(range(90))  # noqa: RUF017
    assert len(parts) == 4
    assert all(25 <= len(part) <= 28 for part in parts[:-1])
    assert {times_of(segment)[0] for segment in bench.segments} == {0}
    assert bench.bytes == sum(segment.stat().st_size for segment in bench.segments)


def test_a_change_of_size_begins_a_segment(bench: Bench) -> None:
    bench.push(*Camera().film(5), *Camera((128, 64), start=5).film(5))
    assert bench.finish() is None
    sizes = [{(frame.width, frame.height) for frame in frames_of(segment)} for segment in bench.segments]
    assert sizes == [{(WIDTH, HEIGHT)}, {(128, 64)}]


def test_a_segment_can_be_played_while_it_is_written(bench: Bench) -> None:
    """All but the last second of it."""
    bench.push(*Camera().film(80))
    bench.written()
    until(lambda: bool(bench.segments) and bench.segments[0].stat().st_size > 0)
    time.sleep(0.05)
    found = numbers(bench.segments[0])
    assert len(found) >= 50
    assert found == list(range(len(found)))


def notice(pts: int = CLOCK_RATE * 2000) -> EncodedPacket:
    return EncodedPacket(b"", pts, is_keyframe=True, captured_at=0.0, is_notice=True)


def test_while_the_source_is_away_the_segment_is_finished(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """And who comes back begins a new one at a keyframe, which is asked for."""
    monkeypatch.setattr(recorder, "IDLE_S", 0.05)
    camera = Camera()
    bench.push(*camera.film(10))
    until(lambda: bench.recorder._segment is not None)
    bench.push(notice())
    until(lambda: bench.recorder._segment is None)
    until(lambda: holds(bench.segments[0], range(10)))  # whole, though the recorder goes on
    bench.push(*camera.film(2), camera.shoot(key=True), *camera.film(4))
    assert bench.finish() is None
    assert [numbers(segment) for segment in bench.segments] == [list(range(10)), list(range(12, 17))]


def test_a_slow_camera_does_not_begin_a_file_with_every_picture(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below one picture in IDLE_S, and with pauses between: segments are cut by time only."""
    monkeypatch.setattr(recorder, "IDLE_S", 0.01)
    camera, looks = Camera(), Looks(monkeypatch)
    for _ in range(8):
        bench.push(camera.shoot())
        looks.wait(3)
    assert bench.finish() is None
    assert [numbers(segment) for segment in bench.segments] == [list(range(8))]


def test_a_segment_ends_in_time_though_nothing_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "IDLE_S", 0.01)
    bench, camera = Bench(tmp_path, segment_s=0.2), Camera()
    bench.push(camera.shoot())
    until(lambda: bench.recorder._segment is not None)
    until(lambda: bench.recorder._segment is None)
    assert numbers(bench.segments[0]) == [0]
    bench.push(camera.shoot())
    until(lambda: "segment" in bench.hub.requests)
    assert bench.finish() is None


class Looks:
    """How often a recorder has found that nothing has come."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._count = 0
        close_if_over = Recorder._close_if_over

        def counted(one: Recorder) -> None:
            close_if_over(one)
            self._count += 1

        monkeypatch.setattr(Recorder, "_close_if_over", counted)

    def wait(self, count: int) -> None:
        enough = self._count + count
        until(lambda: self._count >= enough)


def length_s(path: Path) -> float:
    with av.open(str(path)) as container:
        return (container.duration or 0) / av.time_base


def seen(packet: EncodedPacket, ago_s: float) -> EncodedPacket:
    return replace(packet, captured_at=time.monotonic() - ago_s)


@pytest.mark.parametrize(("ago_s", "longer_s"), [(0.6, 0.6), (5.0, recorder.SHOWN_S)])
def test_the_last_picture_is_seen_until_the_recording_is_stopped(bench: Bench, ago_s: float, longer_s: float) -> None:
    """Unless it took longer than a picture is shown that stands still: then nobody knows."""
    *units, last = Camera().film(10)
    bench.push(*units, seen(last, ago_s))
    bench.written()
    assert bench.finish() is None
    assert length_s(bench.segments[0]) == pytest.approx(9 / FPS + longer_s, abs=scaled(0.1))


def test_at_a_cut_it_is_seen_until_the_next_segment_begins(tmp_path: Path) -> None:
    bench, camera = Bench(tmp_path, segment_s=0.5), Camera()
    bench.push(*camera.film(10))
    camera._number += 20  # nothing changes for most of a second
    bench.push(camera.shoot(key=True), *camera.film(4))
    assert bench.finish() is None
    assert length_s(bench.segments[0]) == pytest.approx(30 / FPS, abs=0.002)


def test_when_its_source_went_away_nobody_knows_for_how_long_it_was_seen(bench: Bench) -> None:
    *units, last = Camera().film(10)
    bench.push(*units, seen(last, 0.6), notice())
    assert bench.finish() is None
    assert length_s(bench.segments[0]) == pytest.approx(10 / FPS, abs=0.02)


CHILD = """
import sys, time
from pathlib import Path
from tests.integration.test_record import Bench, Camera
bench = Bench(Path(sys.argv[1]))
bench.push(*Camera().film(130))
bench.written()
time.sleep(0.1)
print("written", flush=True)
time.sleep(60)
"""


def test_kill_9_costs_a_second_at_most(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "written\n"
    child.kill()
    child.communicate()
    (segment,) = (tmp_path / "rec").rglob("*.mp4")
    found = numbers(segment)
    assert found == list(range(len(found)))
    assert len(found) >= 130 - FPS - 1
    times = times_of(segment)
    assert times == [Fraction(n, FPS) for n in range(len(times))]


DEPTH16_CHILD = """
import sys, time
from pathlib import Path
from streamd.sinks.recording.segment import open_segment
from tests.support.segments import depths
units = depths(130)
writer = open_segment(Path(sys.argv[1]), units[0], lambda count: None, lambda: None)
for unit in units:
    writer.write(unit)
print("written", flush=True)
time.sleep(60)
"""


def test_kill_9_costs_depth16_a_second_at_most(tmp_path: Path) -> None:
    path = tmp_path / "x.mkv"
    child = subprocess.Popen([sys.executable, "-c", DEPTH16_CHILD, str(path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "written\n"
    child.kill()
    child.communicate()
    found = list(read_depth(path))
    assert [time_s for time_s, _ in found] == [number / FPS for number in range(len(found))]
    assert len(found) >= 130 - FPS


def test_depth16_is_encoded_by_the_recorder(tmp_path: Path) -> None:
    bench = Bench(tmp_path, segment_s=1, view="depth16")
    bench.push(*depths(50))
    assert bench.finish() is None
    first, second = sorted((tmp_path / "rec").rglob("*.mkv"))
    assert [len(list(read_depth(path))) for path in (first, second)] == [25, 25]
    (_, depth), *_ = read_depth(second)
    assert np.abs(depth - depth_of(25)).max() <= np.ptp(depth_of(25)) / 65535


def test_a_full_disk_ends_the_recording_and_is_reported(tmp_path: Path) -> None:
    bench = Bench(tmp_path, min_free=1e18)
    bench.push(*Camera().film(3))
    failure = bench.recorder.finished.exception(scaled(5))
    assert isinstance(failure, DiskFull)
    assert str(failure).startswith(f"{tmp_path}/rec/porch: recording stopped: ")
    assert bench.segments == []
    bench.push(*Camera().film(3))
    bench.recorder.close()
    assert bench.hub.seats == []


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Bytes that the disk says it has, in the first place of the list."""
    free = [10_000_000_000]
    monkeypatch.setattr(recorder, "free_bytes", lambda _: free[0])
    return free


def test_a_disk_that_fills_up_ends_the_segment_and_leaves_it_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: list[int]
) -> None:
    """Not only when the next one would begin."""
    monkeypatch.setattr(segment, "SYNC_EVERY_S", 0.0)
    bench, camera = Bench(tmp_path, segment_s=1000, min_free=1e9), Camera()
    bench.push_all(camera, 20)
    assert bench.health == [None]
    free[0] = 500_000_000
    bench.push_all(camera, 20)
    failure = bench.recorder.finished.exception(scaled(5))
    assert isinstance(failure, DiskFull)
    assert failure.free_bytes == 500_000_000
    (whole,) = bench.segments
    assert numbers(whole) == list(range(len(frames_of(whole))))
    assert whole.read_bytes()[-12:-8] == b"mfro"
    bench.recorder.close()


def test_after_it_was_full_there_has_to_be_a_little_more(tmp_path: Path, free: list[int]) -> None:
    """Else a file would begin and end with each one that is deleted."""
    for was_full, room, begins in ((False, 1.05e9, True), (True, 1.05e9, False), (True, 1.2e9, True)):
        free[0] = int(room)
        folder = tmp_path / f"{was_full}{room}"
        folder.mkdir()
        bench = Bench(folder, min_free=1e9, was_full=was_full)
        bench.push(*Camera().film(3))
        assert isinstance(bench.finish(), DiskFull) is not begins
        assert len(bench.segments) == begins


@pytest.mark.parametrize("after", [0, 3])
def test_no_room_in_the_middle_of_a_segment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """The header, or a fragment later on."""
    writes: list[int] = []
    write = segment._CountedFile.write

    def full(self: segment._CountedFile, data: bytes) -> int:
        writes.append(len(data))
        if len(writes) > after:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(self, data)

    monkeypatch.setattr(segment._CountedFile, "write", full)
    bench = Bench(tmp_path)
    bench.push(*Camera().film(100))
    failure = bench.recorder.finished.exception(scaled(5))
    assert isinstance(failure, SinkError)
    assert str(failure) == f"porch/depth: recording stopped: {tmp_path}/rec: no space left on the disk"
    assert len(bench.segments) == (after > 1), "no file without a picture is left behind"
    bench.recorder.close()


def test_a_part_that_was_written_is_not_taken_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fills up takes a part of it first, and FFmpeg takes no notice."""
    path_open = Path.open

    class Partial(io.FileIO):
        def write(self, data: Any) -> int:
            return super().write(memoryview(data)[:1000])

    monkeypatch.setattr(
        Path,
        "open",
        lambda path, mode="r", **more: (
            Partial(path, mode.replace("b", "")) if "x" in mode else path_open(path, mode, **more)
        ),
    )
    bench = Bench(tmp_path)
    bench.push(*Camera().film(60))
    assert bench.finish() is None
    assert numbers(bench.segments[0]) == list(range(60))


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "rec").write_text("in the way")
    bench = Bench(tmp_path)
    bench.push(*Camera().film(1))
    failure = bench.recorder.finished.exception(scaled(5))
    assert isinstance(failure, SinkError)
    assert str(failure) == f"porch/depth: recording stopped: {tmp_path}/rec: is not a directory"
    bench.recorder.close()


def test_a_folder_that_is_removed_meanwhile_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segment, "SYNC_EVERY_S", 0)
    bench, camera = Bench(tmp_path), Camera()
    bench.push(*camera.film(3))
    bench.written()
    [removed] = bench.segments
    shutil.rmtree(tmp_path / "rec")
    bench.push(camera.shoot())
    failure = bench.recorder.finished.exception(scaled(5))
    assert str(failure) == f"porch/depth: recording stopped: {removed}: was removed while it was recorded"
    bench.recorder.close()
    again = Bench(tmp_path)
    again.push(camera.shoot(key=True))
    assert again.finish() is None
    assert len(again.segments) == 1


class Disk:
    """A seam: what a recorder writes waits here while the disk hangs. Its thread cannot tell it from a disk."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._answers = threading.Event()
        self._answers.set()
        write = Recorder._write

        def wait_and_write(one: Recorder, packet: EncodedPacket) -> None:
            self._answers.wait(20)
            write(one, packet)

        monkeypatch.setattr(Recorder, "_write", wait_and_write)

    def hang(self) -> None:
        self._answers.clear()

    def answer(self) -> None:
        self._answers.set()


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    disk = Disk(monkeypatch)
    yield disk
    disk.answer()


def test_a_slow_disk_loses_pictures_up_to_a_keyframe_and_never_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, disk: Disk
) -> None:
    monkeypatch.setattr(recorder, "QUEUE_PACKETS", 20)
    disk.hang()
    bench, camera = Bench(tmp_path), Camera()
    bench.push(*camera.film(60))
    assert bench.left_out in (39, 40), "all but those in the queue, and the one that is being written"
    assert bench.hub.requests == [], "a keyframe would find no room either"
    disk.answer()
    bench.written()
    until(lambda: bench.hub.requests == ["overflow"])
    bench.push(*camera.film(5), camera.shoot(key=True), *camera.film(4))
    assert bench.finish() is None
    found = numbers(bench.segments[0])
    assert found[:20] == list(range(20))
    assert found[-5:] == list(range(65, 70))
    assert set(found).isdisjoint(range(22, 65)), "nothing between that no decoder could use"
    assert bench.left_out in (44, 45)


def test_a_hung_disk_is_reported_and_so_is_its_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, disk: Disk
) -> None:
    monkeypatch.setattr(segment, "SYNC_EVERY_S", 0.0)
    monkeypatch.setattr(recorder, "STUCK_S", 0.02)
    bench, camera = Bench(tmp_path), Camera()
    bench.push_all(camera, 3)
    disk.hang()
    bench.push(camera.shoot())
    until(lambda: bench.recorder.busy_s > 0.05)
    bench.push(camera.shoot(), camera.shoot())
    assert bench.health == [None, "the disk does not answer"]
    disk.answer()
    until(lambda: bench.health == [None, "the disk does not answer", None])
    assert bench.finish() is None
    assert numbers(bench.segments[0]) == list(range(6))


def test_stopping_writes_what_waits(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.push(*Camera().film(200))
    bench.recorder.close()
    bench.recorder.close()
    ended: Future[None] = bench.recorder.finished
    assert ended.exception(scaled(5)) is None
    assert numbers(bench.segments[0]) == list(range(200))


def test_nothing_came_nothing_is_written(bench: Bench) -> None:
    assert bench.finish() is None
    assert bench.segments == []


def test_a_stream_that_is_gone_leaves_no_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(hub: Hub, seat: Recorder) -> None:
        raise StreamGone

    monkeypatch.setattr(Hub, "join", refuse)
    before = threading.active_count()
    with pytest.raises(StreamGone):
        Bench(tmp_path)
    assert threading.active_count() == before


def test_a_thread_that_cannot_start_leaves_no_seat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seats: list[Recorder] = []
    monkeypatch.setattr(Hub, "join", lambda hub, seat: seats.append(seat))
    monkeypatch.setattr(Hub, "leave", lambda hub, seat: seats.remove(seat))

    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threads, "start", refuse)
    with pytest.raises(RuntimeError):
        Bench(tmp_path)
    assert seats == []
