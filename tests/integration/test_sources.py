"""Sources on real files: every picture, in order, upright, at its time; and one line for what is no video."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from streamd.config.sections import StreamConfig
from streamd.errors import SourceError, SourceRejected, SourceUnreachable, SourceUnsupported
from streamd.sources import MediaDirectories, open_source
from streamd.sources.base import Source
from streamd.sources.file import FileInfo, FileSource
from tests.support.clips import lay_down, number_in, write_clip

pytestmark = pytest.mark.timeout(30)

FORMS: dict[str, dict[str, Any]] = {
    "plain.mp4": {},
    "b-frames.mp4": {"b_frames": 3},
    "audio.mkv": {"b_frames": 2, "audio": True},
    "late.ts": {"b_frames": 2},
    "old.avi": {"codec": "mpeg4"},
    "jpegs.avi": {"codec": "mjpeg"},
    "web.webm": {"codec": "libvpx"},
}


def source_of(source: object, stop: threading.Event | None = None, **config: Any) -> Source:
    options = {"realtime": False, **config}
    return open_source(StreamConfig(source=str(source), **options), stop or threading.Event())


def numbers(source: Source, most: int = 10_000) -> list[int]:
    with contextlib.closing(source.frames()) as frames:
        return [number_in(frame) for frame in islice(frames, most)]


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("clips")

    def clip(name: str) -> Path:
        return folder / name if (folder / name).exists() else write_clip(folder / name, 30, **FORMS[name])

    return clip


class Clock(threading.Event):
    """A stop event that lets its own time pass instead of waiting."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.now, self._real = 1000.0, time.monotonic
        monkeypatch.setattr("streamd.sources.file.time.monotonic", lambda: self.now)

    def wait(self, timeout: float | None = None) -> bool:
        self.now += timeout or 0
        return self.is_set()


@pytest.mark.parametrize("name", FORMS)
def test_every_picture_in_order(clips: Callable[[str], Path], name: str) -> None:
    assert numbers(source_of(clips(name))) == list(range(30))


@pytest.mark.parametrize("name", FORMS)
def test_in_a_loop_none_is_missing_at_the_seam(clips: Callable[[str], Path], name: str) -> None:
    assert numbers(source_of(clips(name), loop=True), 75) == [n % 30 for n in range(75)]


@pytest.mark.parametrize("name", ["plain.mp4", "b-frames.mp4", "late.ts"])
def test_like_a_camera_it_keeps_its_own_beat(
    clips: Callable[[str], Path], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Across the seam of the loop too."""
    clock = Clock(monkeypatch)
    source = source_of(clips(name), clock, realtime=True, loop=True)
    with contextlib.closing(source.frames()) as frames:
        shown = [clock.now - 1000 for _ in islice(frames, 70)]
    assert shown == pytest.approx([n / 25 for n in range(70)], abs=0.002)


@pytest.mark.parametrize("name", ["a.h264", "a.mp4", "a.ts"])
def test_a_round_follows_the_other_whatever_the_file(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that cannot be rewound, and one that begins an hour late."""
    clock = Clock(monkeypatch)
    times = None if name == "a.h264" else [3600 + n / 25 for n in range(10)]
    source = source_of(write_clip(tmp_path / name, 10, times_s=times), clock, realtime=True, loop=True)
    with contextlib.closing(source.frames()) as frames:
        shown = [(number_in(frame), clock.now - 1000) for frame in islice(frames, 35)]
    assert [number for number, _ in shown] == [n % 10 for n in range(35)]
    assert [moment for _, moment in shown] == pytest.approx([n / 25 for n in range(35)], abs=0.002)


@pytest.mark.parametrize("interval", [2, 10, 60])
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_a_picture_now_and_then_comes_at_its_time(
    tmp_path: Path, name: str, interval: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, times = Clock(monkeypatch), [float(n * interval) for n in range(4)]
    clip = write_clip(tmp_path / name, 4, times_s=times)
    with contextlib.closing(source_of(clip, clock, realtime=True).frames()) as frames:
        assert [clock.now - 1000 for _ in frames] == pytest.approx(times, abs=0.002)


def test_parts_that_were_joined_are_played_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, part = Clock(monkeypatch), write_clip(tmp_path / "part.ts", 10, audio=True).read_bytes()
    (tmp_path / "joined.ts").write_bytes(part + part)
    source = source_of(tmp_path / "joined.ts", clock, realtime=True)
    with contextlib.closing(source.frames()) as frames:
        shown = [(number_in(frame), clock.now - 1000) for frame in frames]
    assert [number for number, _ in shown] == [*range(10), *range(10)]
    assert [moment for _, moment in shown] == pytest.approx([n / 25 for n in range(20)], abs=0.05)


def test_a_long_wait_for_the_next_picture_can_be_ended(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4", 2, times_s=[0, 600])
    stop = threading.Event()
    timer = threading.Timer(0.3, stop.set)
    timer.start()
    assert numbers(source_of(clip, stop, realtime=True)) == [0]
    timer.join()


def test_pictures_of_uneven_times_keep_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times = [0.0, 0.1, 0.15, 0.75, 0.8]
    clock, clip = Clock(monkeypatch), write_clip(tmp_path / "a.mp4", 5, times_s=times)
    with contextlib.closing(source_of(clip, clock, realtime=True).frames()) as frames:
        assert [clock.now - 1000 for _ in frames] == pytest.approx(times, abs=0.002)


@pytest.mark.parametrize("realtime", [True, False])
def test_stop_ends_it_at_the_next_picture(clips: Callable[[str], Path], realtime: bool) -> None:
    stop = threading.Event()
    count = 0
    for _ in source_of(clips("plain.mp4"), stop, realtime=realtime, loop=True).frames():
        count += 1
        if count == 3:
            stop.set()
    assert count == 3


def corner(frame: av.VideoFrame) -> tuple[bool, bool]:
    """Whether the bright corner is below, and whether it is right."""
    gray = frame.to_ndarray(format="gray").astype(int)
    h, w = gray.shape
    quarters = [gray[: h // 2, : w // 2], gray[: h // 2, w // 2 :], gray[h // 2 :, : w // 2], gray[h // 2 :, w // 2 :]]
    brightest = int(np.argmax([quarter.mean() for quarter in quarters]))
    return bool(brightest // 2), bool(brightest % 2)


@pytest.mark.parametrize(
    ("turn", "below", "right"), [(0, False, False), (90, False, True), (180, True, True), (270, True, False)]
)
def test_a_phone_held_upright_is_shown_upright(tmp_path: Path, turn: int, below: bool, right: bool) -> None:
    """The left upper corner is bright; turned clockwise it goes right, then below."""
    path = tmp_path / "phone.mp4"
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 128, 64, "yuv420p"
        pixels = np.full((96, 128), 128, np.uint8)
        pixels[:64], pixels[:32, :64] = 40, 220
        for number in range(3):
            picture = av.VideoFrame.from_ndarray(pixels, format="yuv420p")
            picture.pts = number
            container.mux(video.encode(picture))
        container.mux(video.encode(None))
    frames = list(source_of(lay_down(path, turn) if turn else path).frames())
    assert len(frames) == 3
    for frame in frames:
        assert (frame.width, frame.height) == ((64, 128) if turn in (90, 270) else (128, 64))
        assert corner(frame) == (below, right)
    assert [frame.time for frame in frames] == pytest.approx([0, 0.04, 0.08])


def test_a_file_in_a_media_directory(clips: Callable[[str], Path]) -> None:
    """Read through the descriptor that was checked; every round of a loop too."""
    clip = clips("plain.mp4")
    config = StreamConfig(source=str(clip), realtime=False, loop=True)
    source = open_source(config, threading.Event(), 1, MediaDirectories([clip.parent]))
    assert numbers(source, 70) == [*range(30), *range(30), *range(10)]


def test_a_link_out_of_a_media_directory(clips: Callable[[str], Path], tmp_path: Path) -> None:
    (tmp_path / "a.mp4").symlink_to(clips("plain.mp4"))
    config = StreamConfig(source=str(tmp_path / "a.mp4"))
    with pytest.raises(SourceRejected, match="leads out of"):
        numbers(open_source(config, threading.Event(), 1, MediaDirectories([tmp_path])))
    assert numbers(open_source(config, threading.Event()), 3) == [0, 1, 2], "of the configuration file it may"


def test_probe_reports_what_is_in_it(clips: Callable[[str], Path]) -> None:
    source = source_of(clips("plain.mp4"))
    assert isinstance(source, FileSource)
    assert source.probe() == FileInfo(192, 112, Fraction(25), 30)
    other = source_of(clips("audio.mkv"))
    assert isinstance(other, FileSource)
    assert other.probe().frames == pytest.approx(30, abs=1), "estimated: the container does not say"


def test_a_file_may_be_called_file(clips: Callable[[str], Path]) -> None:
    assert len(numbers(source_of(f"file:{clips('plain.mp4')}"))) == 30


def make(folder: Path, kind: str) -> Path:
    path = folder / f"{kind}.mp4"
    if kind == "text":
        path.write_text("hello\n" * 100)
    elif kind == "empty":
        path.touch()
    elif kind == "folder":
        path.mkdir()
    elif kind == "audio":
        write_clip(path, 20, audio_only=True)
    elif kind == "picture-less":
        whole = write_clip(folder / "whole.mp4", 20, options={"movflags": "faststart"}).read_bytes()
        path.write_bytes(whole[: whole.index(b"mdat") + 8])
    elif kind == "headless":
        whole = write_clip(folder / "whole.mp4", 20).read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    elif kind == "playlist":
        path.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\na.ts\n#EXT-X-ENDLIST\n")
    elif kind == "secret":
        write_clip(path, 3).chmod(0)
    return path


@pytest.mark.parametrize(
    ("kind", "error", "reason"),
    [
        ("text", SourceUnsupported, "is not a video that can be decoded"),
        ("empty", SourceUnsupported, "is empty"),
        (
            "headless",
            SourceUnsupported,
            "has no index that can be read: its recording or download was cut short",
        ),
        ("playlist", SourceUnsupported, "is a playlist: name the video that it names"),
        ("picture-less", SourceUnsupported, "has no pictures that can be decoded"),
        ("folder", SourceUnsupported, "is a directory, not a video"),
        ("audio", SourceUnsupported, "has no video"),
        ("missing", SourceUnreachable, "not found"),
    ],
)
@pytest.mark.parametrize("loop", [False, True])
def test_what_is_no_video_is_reported(
    tmp_path: Path, kind: str, error: type[SourceError], reason: str, loop: bool
) -> None:
    path = make(tmp_path, kind)
    with pytest.raises(SourceError) as caught:
        numbers(source_of(path, loop=loop))
    assert (type(caught.value), caught.value.reason) == (error, reason)
    assert str(caught.value) == f"{path}: {reason}"


@pytest.mark.parametrize("options", [{"movflags": "faststart"}, {"movflags": "frag_keyframe+empty_moov"}])
def test_a_file_that_lost_its_end_is_played_up_to_there(tmp_path: Path, options: dict[str, str]) -> None:
    clip = write_clip(tmp_path / "a.mp4", 60, options=options)
    data = clip.read_bytes()
    clip.write_bytes(data[: len(data) * 6 // 10])
    found = numbers(source_of(clip))
    assert 20 < len(found) < 50
    assert found == list(range(len(found)))


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
def test_damage_in_the_middle_costs_a_few_pictures_only(tmp_path: Path, name: str) -> None:
    clip = write_clip(tmp_path / name, 60)
    data = bytearray(clip.read_bytes())
    chance, middle = random.Random(3), len(data) // 2
    data[middle : middle + 400] = chance.randbytes(400)
    clip.write_bytes(data)
    found = numbers(source_of(clip))
    assert found[:20] == list(range(20))
    assert len(found) > 35
    assert found[-1] == 59


def test_test_patterns() -> None:
    frames = list(source_of("lavfi:testsrc2=size=64x48:rate=10:duration=1").frames())
    assert len(frames) == 10
    assert {(frame.width, frame.height) for frame in frames} == {(64, 48)}


def test_live_test_patterns_take_their_time() -> None:
    started = time.monotonic()
    assert len(list(source_of("lavfi:testsrc2=size=64x48:rate=20:duration=0.4", realtime=True).frames())) == 8
    assert time.monotonic() - started > 0.3


def test_a_bad_graph_is_reported() -> None:
    with pytest.raises(SourceError, match=r"^lavfi:nonsense=1: "):
        numbers(source_of("lavfi:nonsense=1"))
