"""Pictures as files, as FFmpeg reads them."""

from __future__ import annotations

from collections.abc import Iterator

import av
import pytest

from streamd.sources.film import Film, TimedPicture, as_png
from streamd.sources.picture_scanner import CodedPicture, PictureKind
from tests.support.clips import number_in
from tests.support.stills import still_of

CODECS = {PictureKind.JPEG: "mjpeg", PictureKind.PNG: "png"}


def played(*pictures: TimedPicture) -> list[list[tuple[int, int]]]:
    """Numbers and times, ms, of each film."""
    films: list[list[tuple[int, int]]] = []
    coming: Iterator[TimedPicture] | None = iter(pictures)
    while coming is not None:
        film = Film("http://h/", coming)
        with av.open(film, "r", format="ivf") as container:
            films.append([(number_in(frame), frame.pts or 0) for frame in container.decode(video=0)])
        coming = film.following()
    return films


def coded(kind: PictureKind, number: int) -> CodedPicture:
    return CodedPicture(kind, still_of(number, CODECS[kind]))


@pytest.mark.parametrize("kind", CODECS)
def test_pictures_come_with_their_times(kind: PictureKind) -> None:
    pictures = [(coded(kind, number), 10 + number / 4) for number in range(4)]
    assert played(*pictures) == [[(0, 10_000), (1, 10_250), (2, 10_500), (3, 10_750)]]


def test_times_never_go_back() -> None:
    pictures = [(coded(PictureKind.JPEG, number), time_s) for number, time_s in enumerate([5, 5, 3])]
    assert played(*pictures) == [[(0, 5000), (1, 5001), (2, 5002)]]


def test_pictures_of_another_kind_make_another_film() -> None:
    pictures = [(coded(kind, number), number) for number, kind in enumerate([*CODECS, *CODECS])]
    assert played(*pictures) == [[(number, 1000 * number)] for number in range(4)]


def test_webp_becomes_png() -> None:
    picture = as_png(still_of(3, "libwebp"))
    assert picture is not None
    assert played((picture, 1.0)) == [[(3, 1000)]]
    assert as_png(b"RIFF\x04\0\0\0WEBP") is None
