from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import pytest
from av.stream import Disposition

from streamd.sources.track import choose_video
from tests.support.tracks import write_tracks

DEFAULT, COVER = Disposition.default, Disposition.attached_pic
NONE = Disposition(0)


def choice(path: Path) -> int | None:
    with av.open(str(path)) as container:
        video = choose_video(container)
        return None if video is None else video.index


@pytest.mark.parametrize("ending", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize(
    ("first", "second", "chosen"),
    [
        pytest.param(("mjpeg", (64, 48), 1, NONE), ("mpeg4", (96, 64), 10, DEFAULT), 1, id="a thumbnail first"),
        pytest.param(("mpeg4", (96, 64), 10, DEFAULT), ("mjpeg", (256, 192), 1, NONE), 0, id="a larger one behind"),
        pytest.param(("mjpeg", (256, 192), 1, NONE), ("mpeg4", (96, 64), 10, NONE), 1, id="a larger one first"),
        pytest.param(("mpeg4", (64, 48), 10, DEFAULT), ("mpeg4", (96, 64), 10, NONE), 0, id="the default"),
        pytest.param(("mpeg4", (64, 48), 10, NONE), ("mpeg4", (96, 64), 10, DEFAULT), 1, id="the default, second"),
        pytest.param(("mpeg4", (64, 48), 10, DEFAULT), ("mpeg4", (96, 64), 10, DEFAULT), 1, id="the larger"),
        pytest.param(("mpeg4", (64, 48), 10, DEFAULT), ("mpeg4", (64, 48), 10, DEFAULT), 0, id="the first of equals"),
    ],
)
def test_what_ffmpeg_takes(tmp_path: Path, ending: str, first: Any, second: Any, chosen: int) -> None:
    assert choice(write_tracks(tmp_path / f"a{ending}", first, second)) == chosen


def test_a_far_larger_one_goes_before_the_default(tmp_path: Path) -> None:
    """As in ffmpeg(1), whose default stream is worth 5,000,000 pixels."""
    tracks = [("mpeg4", (64, 48), 2, DEFAULT), ("mpeg4", (3840, 2160), 2, NONE)]
    assert choice(write_tracks(tmp_path / "a.mkv", *tracks)) == 1


def test_of_programmes_the_largest(tmp_path: Path) -> None:
    tracks = [("mpeg2video", size, 10, NONE) for size in ((64, 48), (128, 96), (96, 64))]
    assert choice(write_tracks(tmp_path / "a.ts", *tracks)) == 1


@pytest.mark.parametrize("ending", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("disposition", [COVER, NONE])
def test_music_with_a_cover_has_no_video(tmp_path: Path, ending: str, disposition: Disposition) -> None:
    cover = ("mjpeg", (64, 48), 1, disposition)
    assert choice(write_tracks(tmp_path / f"a{ending}", cover, sound=True)) is None


def test_music_without_a_cover_has_no_video(tmp_path: Path) -> None:
    assert choice(write_tracks(tmp_path / "a.mp4", sound=True)) is None


@pytest.mark.parametrize("track", [("mjpeg", (64, 48), 8, NONE), ("mpeg4", (64, 48), 1, NONE)])
def test_motion_jpeg_and_a_video_of_one_picture_are_videos(tmp_path: Path, track: Any) -> None:
    assert choice(write_tracks(tmp_path / "a.mp4", track, sound=True)) == 0
    assert choice(write_tracks(tmp_path / "b.mp4", ("mjpeg", (64, 48), 1, DEFAULT))) == 0


def test_what_cannot_be_decoded_is_a_last_resort(tmp_path: Path) -> None:
    path = write_tracks(tmp_path / "a.mp4", ("mpeg4", (128, 96), 4, DEFAULT), ("mpeg4", (64, 48), 4, NONE))
    data = path.read_bytes()
    path.write_bytes(data.replace(b"mp4v", b"xyz1", 1).replace(b"esds", b"free", 1))
    assert choice(path) == 1
    path.write_bytes(data.replace(b"mp4v", b"xyz1").replace(b"esds", b"free"))
    assert choice(path) == 0
