from __future__ import annotations

import gc
from fractions import Fraction
from pathlib import Path

import av
import pytest

from streamd.media.encode import LiveEncoder
from streamd.media.frames import Stamp, canvas
from streamd.sources.upright import MAX_PX, Upright, square_size, turning
from tests.support.corners import MATRICES


@pytest.mark.parametrize(
    ("size", "aspect", "expected"),
    [
        ((720, 576), None, (720, 576)),
        ((720, 576), Fraction(1), (720, 576)),
        ((321, 241), Fraction(1), (321, 241)),
        ((720, 576), Fraction(64, 45), (1024, 576)),
        ((720, 576), Fraction(16, 15), (768, 576)),
        ((720, 480), Fraction(8, 9), (720, 540)),
        ((352, 576), Fraction(128, 45), (1002, 576)),
        ((960, 576), Fraction(1, 2), (960, 1152)),
        ((1920, 1080), Fraction(4320, 4319), (1920, 1080)),
        ((1920, 1080), Fraction(1001, 1000), (1920, 1080)),
        ((320, 240), Fraction(1000), (320, 240)),
        ((320, 240), Fraction(1, 1000), (320, 240)),
        ((320, 240), Fraction(-4, 3), (320, 240)),
        ((320, 240), Fraction(1 << 31, 3), (320, 240)),
        ((1, 240), Fraction(1, 2), (1, 480)),
    ],
)
def test_square_pixels(size: tuple[int, int], aspect: Fraction | None, expected: tuple[int, int]) -> None:
    assert square_size(*size, aspect) == expected


@pytest.mark.parametrize("aspect", [Fraction(10), Fraction(1, 10), Fraction(5, 2), Fraction(2, 5)])
def test_no_header_makes_a_picture_that_fills_the_memory(aspect: Fraction) -> None:
    width, height = square_size(8192, 4320, aspect)
    assert width * height <= max(MAX_PX, 8192 * 4320)
    assert width / height == pytest.approx(8192 * aspect / 4320, rel=0.01)


@pytest.mark.parametrize("scale", [1, 0.5, 2])
@pytest.mark.parametrize(
    ("how", "filters"),
    [
        ("as it is", ()),
        ("mirrored", (("hflip", ""),)),
        ("upside down, mirrored", (("vflip", ""),)),
        ("half a turn", (("hflip", ""), ("vflip", ""))),
        ("clockwise", (("transpose", "clock"),)),
        ("counterclockwise", (("transpose", "cclock"),)),
        ("along one diagonal", (("transpose", "cclock_flip"),)),
        ("along the other", (("transpose", "clock_flip"),)),
    ],
)
def test_turning_is_ffmpegs(how: str, filters: object, scale: float) -> None:
    a, b, c, d = (int(scale * 65536 * value) for value in MATRICES[how][0])
    assert turning((a, b, 0, c, d, 0, 0, 0, 1 << 30)) == filters


def test_other_angles_are_turned_in_place() -> None:
    half = round(65536 * 0.5**0.5)
    assert turning((half, half, 0, -half, half, 0, 0, 0, 1 << 30)) == (("rotate", "45*PI/180"),)


@pytest.mark.parametrize("matrix", [None, (0,) * 9, (65536, 0, 0, 0, 0, 0, 0, 0, 1 << 30)])
def test_no_matrix_and_broken_ones_change_nothing(matrix: tuple[int, ...] | None) -> None:
    assert turning(matrix) == ()


def test_pictures_do_not_wait_for_pythons_garbage_collector(tmp_path: Path) -> None:
    """Each has more than a megabyte, and each has side data: the first has that of the encoder."""
    encoder = LiveEncoder(64, 48)
    path = tmp_path / "x.h264"
    path.write_bytes(b"".join(packet.data for n in range(9) for packet in encoder.encode(canvas(64, 48), _stamp(n))))
    gc.collect()
    gc.disable()
    before = pictures()
    try:
        with av.open(str(path)) as container:
            video = container.streams.video[0]
            upright = Upright(video)
            for picture in container.decode(video):
                assert upright(picture, picture) is picture
                assert pictures() <= before + 2, "this one, and the decoder's next"
    finally:
        gc.enable()


def pictures() -> int:
    """How many there are."""
    # By their types alone: some objects warn when they are asked.
    return sum(issubclass(type(each), av.VideoFrame) and each.format is not None for each in gc.get_objects())


def _stamp(number: int) -> Stamp:
    return Stamp(number, number * 3000, number / 30)
