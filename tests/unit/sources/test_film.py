"""Pictures as one file, as FFmpeg reads it."""

from __future__ import annotations

import av
import pytest

from streamd.sources.film import Film
from streamd.sources.picture_scanner import CodedPicture, PictureKind
from streamd.states import SkipReason
from tests.support.clips import number_in
from tests.support.stills import still_of

CODECS = {PictureKind.JPEG: "mjpeg", PictureKind.PNG: "png", PictureKind.WEBP: "libwebp"}


def played(*pictures: tuple[CodedPicture, float]) -> tuple[list[tuple[int, int]], list[SkipReason]]:
    """Numbers and times, ms; and what was left out."""
    skipped: list[SkipReason] = []
    film = Film("http://h/", iter(pictures), skipped.append)
    with av.open(film, "r", format="ivf") as container:
        return [(number_in(frame), frame.pts or 0) for frame in container.decode(video=0)], skipped


def coded(kind: PictureKind, number: int) -> CodedPicture:
    return CodedPicture(kind, still_of(number, CODECS[kind]))


@pytest.mark.parametrize("kind", PictureKind)
def test_pictures_come_with_their_times(kind: PictureKind) -> None:
    pictures = [(coded(kind, number), 10 + number / 4) for number in range(4)]
    assert played(*pictures) == ([(0, 10_000), (1, 10_250), (2, 10_500), (3, 10_750)], [])


def test_times_never_go_back() -> None:
    seen, _ = played(*[(coded(PictureKind.JPEG, number), time_s) for number, time_s in enumerate([5, 5, 3])])
    assert seen == [(0, 5000), (1, 5001), (2, 5002)]


def test_what_is_of_another_kind_or_damaged_is_left_out() -> None:
    pictures = [
        (CodedPicture(PictureKind.WEBP, b"RIFF\x04\0\0\0WEBP"), 0.0),
        (coded(PictureKind.PNG, 1), 1.0),
        (coded(PictureKind.JPEG, 2), 2.0),
        (coded(PictureKind.WEBP, 3), 3.0),
    ]
    assert played(*pictures) == ([(1, 1000), (3, 3000)], [SkipReason.CORRUPT] * 2)
