"""Videos that lie on their side or have pixels that are not square, or colours that few know: as players show them."""

from __future__ import annotations

import struct
import threading
from collections.abc import Sequence
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from av.stream import Discard, Disposition

from streamd.config.sections import StreamConfig
from streamd.depth.service import DepthService
from streamd.errors import SourceEnded, SourceUnsupported
from streamd.jobs.convert import convert
from streamd.media.frames import Scaler
from streamd.sources import open_source
from streamd.sources.file import FileSource
from tests.support.clips import frames_of
from tests.support.corners import MATRICES, UPRIGHT, corners, exif, filtered, pixels, write_corners
from tests.support.tracks import write_tracks
from tests.unit.sources.peers import Film, Line, peer, rtsp, sends

pytestmark = pytest.mark.timeout(60, func_only=True)
DISPLAYED = "h264_metadata=display_orientation=insert"


def file_source(path: Path, **config: Any) -> FileSource:
    return FileSource(StreamConfig(source=str(path), realtime=False, **config), threading.Event())


def frames(path: Path) -> list[av.VideoFrame]:
    return list(file_source(path).frames())


def shown(path: Path) -> tuple[str, tuple[int, int]]:
    """Corners and size of its pictures."""
    pictures = frames(path)
    assert pictures
    (size,) = {(picture.width, picture.height) for picture in pictures}
    (found,) = {corners(picture) for picture in pictures}
    return found, size


def turned(matrix: Sequence[int], width: int, height: int) -> tuple[int, int]:
    return (width, height) if matrix[0] else (height, width)


@pytest.mark.parametrize("ending", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("how", MATRICES)
def test_every_display_matrix(tmp_path: Path, how: str, ending: str) -> None:
    matrix, found = MATRICES[how]
    path = write_corners(tmp_path / f"a{ending}", matrix=matrix)
    assert shown(path) == (found, turned(matrix, 64, 48))


@pytest.mark.parametrize("pix_fmt", ["yuv422p", "yuv444p", "yuv420p10le", "gray"])
def test_every_display_matrix_of_other_pictures(tmp_path: Path, pix_fmt: str) -> None:
    for matrix, found in MATRICES.values():
        path = write_corners(tmp_path / "a.mkv", matrix=matrix, pix_fmt=pix_fmt)
        pictures = frames(path)
        assert {(picture.width, picture.height) for picture in pictures} == {turned(matrix, 64, 48)}
        if pix_fmt != "gray":
            assert {corners(picture) for picture in pictures} == {found}


def test_exif_turns_motion_jpeg(tmp_path: Path) -> None:
    jpeg = cv2.imencode(".jpg", pixels()[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 100])[1].tobytes()
    order = ["as it is", "mirrored", "half a turn", "upside down, mirrored"]
    order += ["along one diagonal", "clockwise", "along the other", "counterclockwise"]
    for orientation, how in enumerate(order, start=1):
        path = tmp_path / "a.mjpeg"
        path.write_bytes(exif(jpeg, orientation) * 3)
        matrix, found = MATRICES[how]
        assert shown(path) == (found, turned(matrix, 64, 48)), how


@pytest.mark.parametrize(
    ("orientation", "found"),
    [
        ("rotate=90", "R./WG"),
        ("rotate=0:flip=vertical", "G./WR"),
        ("rotate=0:flip=horizontal", "RW/.G"),
        ("rotate=90:flip=horizontal", "WG/R."),
    ],
)
def test_the_orientation_in_h264(tmp_path: Path, orientation: str, found: str) -> None:
    path = filtered(write_corners(tmp_path / "a.ts"), f"{DISPLAYED}:{orientation}", tmp_path / "b.ts")
    assert shown(path)[0] == found


@pytest.mark.parametrize(
    ("ending", "codec", "size", "aspect", "expected"),
    [
        (".mp4", "libx264", (64, 48), Fraction(2), (128, 48)),
        (".mkv", "libx264", (64, 48), Fraction(1, 2), (64, 96)),
        (".ts", "mpeg2video", (720, 576), Fraction(64, 45), (1024, 576)),
        (".avi", "mpeg4", (720, 576), Fraction(16, 15), (768, 576)),
        (".h264", "libx264", (1440, 1080), Fraction(4, 3), (1920, 1080)),
        (".mov", "mjpeg", (64, 48), Fraction(4, 3), (86, 48)),
        (".mp4", "libx264", (64, 48), Fraction(4320, 4319), (64, 48)),
        (".mp4", "libx264", (64, 48), Fraction(100), (64, 48)),
    ],
)
def test_pixels_that_are_not_square(
    tmp_path: Path, ending: str, codec: str, size: tuple[int, int], aspect: Fraction, expected: tuple[int, int]
) -> None:
    pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    path = write_corners(tmp_path / f"a{ending}", codec, size=size, aspect=aspect, pix_fmt=pix_fmt)
    assert shown(path) == (UPRIGHT, expected)


def test_of_two_shapes_the_containers(tmp_path: Path) -> None:
    path = write_corners(tmp_path / "a.mp4", aspect=Fraction(2))
    data = path.read_bytes()
    at = data.index(b"pasp") + 4
    path.write_bytes(data[:at] + struct.pack(">II", 3, 2) + data[at + 8 :])
    assert shown(path) == (UPRIGHT, (96, 48))


def test_pixels_that_are_not_square_lying_on_their_side(tmp_path: Path) -> None:
    path = write_corners(tmp_path / "a.mp4", aspect=Fraction(2), matrix=(0, 1, -1, 0))
    assert shown(path) == ("GW/.R", (48, 128))


def test_the_shape_changes_in_mid_file(tmp_path: Path) -> None:
    parts = [write_corners(tmp_path / f"{n}.h264", aspect=Fraction(n), count=12) for n in (1, 2)]
    path = tmp_path / "a.h264"
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    widths = [picture.width for picture in frames(path)]
    assert widths == sorted(widths)
    assert len(widths) == 24
    assert min(widths.count(64), widths.count(128)) >= 8, "the decoder's threads know of it a little early"


class TestLive:
    def test_over_http(self, tmp_path: Path) -> None:
        filter = "h264_metadata=sample_aspect_ratio=2/1:display_orientation=insert:rotate=270"
        data = filtered(write_corners(tmp_path / "a.ts", count=12), filter, tmp_path / "b.ts").read_bytes()
        with peer(sends(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + data)) as address:
            self.check(f"http://{address}/live.ts", ("GW/.R", 48, 128))

    def test_over_rtsp(self, tmp_path: Path) -> None:
        """Cameras that record 960H send it in 4:3."""
        film = Film(write_corners(tmp_path / "a.mp4", aspect=Fraction(1, 2), count=12))

        def play(line: Line, stop: threading.Event) -> None:
            film.play(line, stop, range(12))

        with peer(rtsp(play)) as address:
            self.check(f"rtsp://{address}/", (UPRIGHT, 64, 96))

    def check(self, url: str, expected: tuple[str, int, int]) -> None:
        source = open_source(StreamConfig(source=url), threading.Event())
        seen: list[tuple[str, int, int]] = []
        with pytest.raises(SourceEnded):
            seen.extend((corners(frame), frame.width, frame.height) for frame in source.frames())
        assert set(seen) == {expected}


@pytest.mark.parametrize("matrix", [0, 3, 4, 7, 8, 10, 11, 12, 13, 14, 15, 17, 200])
def test_matrices_that_swscale_does_not_know(tmp_path: Path, matrix: int) -> None:
    """With primaries and transfers that it does not know either, and something to scale."""
    filter = f"h264_metadata=matrix_coefficients={matrix}:colour_primaries=77:transfer_characteristics=99"
    path = filtered(write_corners(tmp_path / "a.ts"), f"{filter}:sample_aspect_ratio=2/1", tmp_path / "b.ts")
    for picture in frames(path):
        rgb = Scaler().rgb(Scaler().yuv420(picture, 64, 24)).astype(int)
        assert np.abs(rgb[2, 4] - (255, 255, 255)).max() < 25
        assert np.abs(rgb[2, -4] - (255, 0, 0)).max() < 45
        assert np.abs(rgb[-2, 4] - (0, 255, 0)).max() < 45


@pytest.mark.parametrize(
    ("ending", "codec", "pix_fmt"),
    [(".mkv", "ffv1", "yuva420p"), (".mov", "qtrle", "argb"), (".webm", "libvpx-vp9", "yuva420p"), (".apng", "", "")],
)
def test_alpha_is_laid_on_white(tmp_path: Path, ending: str, codec: str, pix_fmt: str) -> None:
    """Red, which is hidden on the left."""
    path = tmp_path / f"a{ending}"
    rgba = np.full((48, 64, 4), (255, 0, 0, 255), np.uint8)
    rgba[:, :32, 3] = 0
    with av.open(str(path), "w", format="apng" if ending == ".apng" else None) as container:
        video: Any = container.add_stream(codec or "apng", rate=10)
        video.width, video.height, video.pix_fmt = 64, 48, pix_fmt or "rgba"
        if codec == "libvpx-vp9":
            video.codec_context.options = {"auto-alt-ref": "0"}
        for number in range(3):
            picture = av.VideoFrame.from_ndarray(rgba, format="rgba").reformat(format=video.pix_fmt)
            picture.pts, picture.time_base = number, Fraction(1, 10)
            container.mux(video.encode(picture))
        container.mux(video.encode(None))
    pictures = frames(path)
    assert [picture.time for picture in pictures] == pytest.approx([0, 0.1, 0.2])
    for picture in pictures:
        rgb = Scaler().rgb(picture).astype(int)
        assert np.abs(rgb[24, 10] - (255, 255, 255)).max() < 12
        assert np.abs(rgb[24, 54] - (255, 0, 0)).max() < 12


class TestTrack:
    """Which is taken is told in full in tests/unit/sources/test_track.py."""

    def test_the_thumbnail_of_a_drone_is_not_the_video(self, shared_service: DepthService, tmp_path: Path) -> None:
        tracks = [("mjpeg", (160, 96), 1, Disposition(0)), ("mpeg4", (64, 48), 20, Disposition.default)]
        path, output = write_tracks(tmp_path / "a.mp4", *tracks, sound=True), tmp_path / "out.mp4"
        assert convert(str(path), output, shared_service, quiet=True).frames == 20
        assert {(picture.width, picture.height) for picture in frames_of(output)} == {(64, 48)}

    def test_nothing_else_of_a_file_is_read(self, tmp_path: Path) -> None:
        tracks = [("mpeg4", (64, 48), 20, Disposition(0)), ("mpeg4", (96, 64), 20, Disposition.default)]
        source = file_source(write_tracks(tmp_path / "a.mov", *tracks, sound=True))
        with source.opened_file() as container:
            assert len([*source.decoded(container)]) == 20
            assert [stream.discard for stream in container.streams] == [Discard.all, Discard.default, Discard.all]

    def test_in_a_loop_the_same(self, tmp_path: Path) -> None:
        tracks = [("mpeg4", (64, 48), 5, Disposition(0)), ("mpeg4", (96, 64), 5, Disposition.default)]
        source = file_source(write_tracks(tmp_path / "a.mp4", *tracks, sound=True), loop=True)
        assert [picture.width for picture in islice(source.frames(), 12)] == [96] * 12

    @pytest.mark.parametrize("disposition", [Disposition.attached_pic, Disposition(0)])
    def test_music_with_a_cover_has_no_video(self, tmp_path: Path, disposition: Disposition) -> None:
        source = file_source(write_tracks(tmp_path / "a.mp4", ("mjpeg", (64, 48), 1, disposition), sound=True))
        for look in (source.probe, lambda: list(source.frames())):
            with pytest.raises(SourceUnsupported, match="has no video"):
                look()

    def test_an_unknown_codec_is_named_as_the_reason(self, tmp_path: Path) -> None:
        path = write_tracks(tmp_path / "a.mp4", ("mpeg4", (64, 48), 4, Disposition.default))
        path.write_bytes(path.read_bytes().replace(b"mp4v", b"xyz1").replace(b"esds", b"free"))
        with pytest.raises(SourceUnsupported, match="a codec that cannot be decoded"):
            file_source(path).probe()

    def test_of_two_programmes_of_a_live_stream_the_larger(self, tmp_path: Path) -> None:
        tracks = [("mpeg2video", (64, 48), 12, Disposition(0)), ("mpeg2video", (128, 96), 12, Disposition(0))]
        data = write_tracks(tmp_path / "a.ts", *tracks).read_bytes()
        widths: list[int] = []
        with peer(sends(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + data)) as address:
            source = open_source(StreamConfig(source=f"http://{address}/live.ts"), threading.Event())
            with pytest.raises(SourceEnded):
                widths.extend(picture.width for picture in source.frames())
        assert set(widths) == {128}
        assert len(widths) >= 10


def test_convert_shows_it_as_players_do(shared_service: DepthService, tmp_path: Path) -> None:
    matrix, found = MATRICES["along the other"]
    path, output = write_corners(tmp_path / "a.mp4", matrix=matrix, aspect=Fraction(2)), tmp_path / "out.mp4"
    assert convert(str(path), output, shared_service, view="source", quiet=True).frames == 3
    assert {(corners(picture), picture.width, picture.height) for picture in frames_of(output)} == {(found, 48, 128)}
