from __future__ import annotations

import subprocess
import sys
from fractions import Fraction

import av
import numpy as np
import pytest

from streamd.media.frames import Scaler, yuv_planes
from streamd.sources.colours import Colours

RED, CLEAR = (255, 0, 0, 255), (0, 0, 255, 0)


def picture(format: str, colour: tuple[int, int, int, int] = RED, width: int = 64, height: int = 48) -> av.VideoFrame:
    rgba = np.full((height, width, 4), colour, np.uint8)
    made = av.VideoFrame.from_ndarray(rgba, format="rgba").reformat(format=format)
    made.pts, made.time_base = 7, Fraction(1, 10)
    return made


def settled(made: av.VideoFrame, codec: str = "ffv1") -> av.VideoFrame:
    result = Colours(codec)(made)
    assert (result.pts, result.time_base) == (7, Fraction(1, 10))
    return result


def middle(made: av.VideoFrame) -> np.ndarray:
    """Its colour as a viewer has it."""
    yuv = Scaler().yuv420(made, made.width & ~1, made.height & ~1)
    return Scaler().rgb(yuv)[made.height // 2, made.width // 2].astype(int)


@pytest.mark.parametrize("format", ["yuv420p", "yuvj420p", "nv12", "yuv420p10le", "rgb24", "gbrp", "gray", "yuv444p"])
def test_the_usual_picture_is_passed_on(format: str) -> None:
    made = picture(format)
    assert settled(made) is made


@pytest.mark.parametrize(
    ("coded", "primaries", "taken"),
    [
        (1, 1, 1),
        (2, 9, 2),
        (5, 2, 5),
        (6, 6, 6),
        (9, 9, 9),
        (10, 9, 9),
        (14, 9, 9),
        (7, 7, 1),
        (4, 4, 6),
        (0, 1, 1),
        (0, 2, 2),
        (8, 2, 2),
        (8, 1, 1),
        (12, 9, 9),
        (13, 77, 2),
        (15, 2, 2),
        (255, 255, 2),
    ],
)
def test_a_matrix_is_taken_for_the_nearest_known(coded: int, primaries: int, taken: int) -> None:
    made = picture("yuv420p")
    made.colorspace, made.color_primaries = coded, primaries
    assert settled(made).colorspace == taken
    assert Scaler().shrink(made, 32, 32).width == 32


def test_of_rgb_the_name_stays() -> None:
    made = picture("gbrp")
    made.colorspace = 0
    assert settled(made).colorspace == 0
    assert middle(made) == pytest.approx([255, 0, 0], abs=6)


FORMATS = """
    yuv420p yuvj420p yuv422p yuvj422p yuv444p yuv440p yuv411p yuv410p nv12 nv21 nv16 yuyv422 uyvy422 p010le p016le
    yuv420p10le yuv422p10le yuv444p10le yuv420p12le yuv422p12le yuv444p12le yuv444p16le yuva420p yuva444p10le
    rgb24 bgr24 rgba bgra argb abgr rgb0 bgr0 rgb48le rgba64le gbrp gbrp10le gbrp12le gbrp16le gbrap gbrap12le
    rgb565le rgb8 xyz12le x2rgb10le
"""


@pytest.mark.parametrize("format", FORMATS.split())
def test_red_stays_red(format: str) -> None:
    assert middle(settled(picture(format))) == pytest.approx([255, 0, 0], abs=16)


@pytest.mark.parametrize(
    "format", ["yuva420p", "yuva444p10le", "rgba", "argb", "gbrap", "gbrap12le", "rgba64le", "ya8"]
)
def test_what_is_transparent_is_white(format: str) -> None:
    assert middle(settled(picture(format, CLEAR))) == pytest.approx([255, 255, 255], abs=4)


@pytest.mark.parametrize("format", ["yuva420p", "rgba", "gbrap12le"])
def test_what_is_half_transparent_is_half_white(format: str) -> None:
    assert middle(settled(picture(format, (255, 0, 0, 128)))) == pytest.approx([255, 127, 127], abs=5)


@pytest.mark.parametrize("format", ["yuva420p", "rgba", "pal8", "ya8"])
def test_what_could_be_transparent_and_is_not_is_passed_on(format: str) -> None:
    made = av.VideoFrame(64, 48, "pal8") if format == "pal8" else picture(format)
    if format == "pal8":
        made.planes[1].update(bytes([0, 0, 255, 255]) * 256)
        made.pts, made.time_base = 7, Fraction(1, 10)
    assert settled(made) is made


def test_a_palette_with_nothing_in_it_is_white() -> None:
    made = av.VideoFrame(64, 48, "pal8")
    made.planes[0].update(bytes(made.planes[0].buffer_size))
    made.planes[1].update(bytes(1024))
    made.pts, made.time_base = 7, Fraction(1, 10)
    assert middle(settled(made)) == pytest.approx([255, 255, 255], abs=2)


@pytest.mark.parametrize(("bits", "format"), [(8, "gray"), (10, "gray10le"), (12, "gray12le")])
@pytest.mark.parametrize(
    ("codec", "range_", "limited"),
    [
        ("hevc", 0, True),
        ("hevc", 1, True),
        ("hevc", 2, False),
        ("ffv1", 0, False),
        ("ffv1", 1, True),
        ("png", 2, False),
    ],
)
def test_gray_of_limited_range(bits: int, format: str, codec: str, range_: int, limited: bool) -> None:
    """235 is white there; swscale takes 255."""
    made = av.VideoFrame(65, 49, format)
    samples = np.full(
        made.planes[0].buffer_size // (1 + (bits > 8)), 235 << (bits - 8), "<u2" if bits > 8 else np.uint8
    )
    made.planes[0].update(samples.tobytes())
    made.pts, made.time_base, made.color_range = 7, Fraction(1, 10), range_
    luma = yuv_planes(Scaler().yuv420(settled(made, codec), 64, 48))[0]
    assert int(luma[20, 20]) == pytest.approx(235 if limited else 218, abs=1)


ALL = """
from fractions import Fraction
import av
from av.video.format import names
from streamd.media.frames import Scaler
from streamd.sources.colours import Colours
for name in sorted(names):
    try:
        made = av.VideoFrame(64, 48, name)
    except (ValueError, av.error.FFmpegError):  # of hardware
        continue
    made.pts, made.time_base = 7, Fraction(1, 10)
    try:
        settled = Colours("ffv1")(made)
    except ValueError:
        print("refused", name, flush=True)
        continue
    print(name, flush=True)
    Scaler().yuv420(settled, 32, 24)
    Scaler().rgb(settled)
"""


def test_what_cannot_be_converted_is_refused_and_all_else_is_converted() -> None:
    """In a child: swscale aborts at some formats."""
    done = subprocess.run([sys.executable, "-c", ALL], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-80:] + done.stderr
    lines = done.stdout.splitlines()
    refused = {line.removeprefix("refused ") for line in lines if line.startswith("refused ")}
    assert len(refused) < 30 < 200 < len(lines)
    assert {"yaf32le", "rgb96le"} <= refused
