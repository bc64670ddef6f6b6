"""Pictures are read as people see them: upright, on white, as bright as they are; and refused in one line."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from streamd.errors import PictureError
from streamd.media.frames import ByteImage
from streamd.render.picture_reader import read_picture
from tests.support import bombs
from tests.support.bombs import saved, with_exif
from tests.support.picture_files import TURNED, Order, Tags, corners, corners_of, exif, png, pnm, tiff, webp_with_exif

CORNERS = corners()
JPEG, WEBP = saved(CORNERS, "JPEG", quality=95), saved(CORNERS, "WEBP", quality=95)
RAMP = np.linspace(0, 255, 64).round().astype(np.uint8).reshape(8, 8)
COLOURS: ByteImage = np.dstack([RAMP, RAMP.T, RAMP[::-1]])
WIDE = COLOURS.astype(np.uint16)
"""8 bits that are to be scaled up."""


def close(rgb: ByteImage, expected: NDArray[Any], by: int = 1) -> bool:
    return rgb.shape == expected.shape and int(np.abs(rgb.astype(int) - expected).max()) <= by


def scaled(bits: int, pixels: NDArray[np.uint16] = WIDE) -> NDArray[np.uint16]:
    """Samples of so many bits that look as ``pixels`` of 8 do."""
    return np.rint(pixels / 255 * ((1 << bits) - 1)).astype(np.uint16)


class TestUpright:
    @pytest.mark.parametrize("order", ["<", ">"])
    @pytest.mark.parametrize("orientation", TURNED)
    def test_every_kind_that_can_say_it(self, orientation: int, order: Order) -> None:
        block = exif(orientation, order)
        for data in (
            with_exif(JPEG, block),
            png(CORNERS, (b"eXIf", block)),
            webp_with_exif(WEBP, 32, 16, block),
            webp_with_exif(WEBP, 32, 16, b"Exif\0\0" + block),
            tiff(CORNERS, {274: (3, orientation)}, order),
            tiff(CORNERS.astype(np.uint16) * 257, {274: (3, orientation)}, order),
            png(np.dstack([CORNERS, np.full((16, 32), 255, np.uint8)]), (b"eXIf", block)),
            with_exif(saved(CORNERS, "JPEG", quality=95, progressive=True), block),
        ):
            assert corners_of(read_picture(data)) == TURNED[orientation]

    @pytest.mark.parametrize(
        "block",
        [
            exif(0),
            exif(9),
            bombs.orientation(99),
            bombs.EXIF_OUT_OF_BOUNDS,
            bombs.EXIF_OF_MANY,
            b"",
            b"MM\0*",
            exif(6)[:12],
            b"XX" + exif(6)[2:],
        ],
    )
    def test_what_says_nothing_turns_nothing(self, block: bytes) -> None:
        for data in (with_exif(JPEG, block), png(CORNERS, (b"eXIf", block)), webp_with_exif(WEBP, 32, 16, block)):
            assert corners_of(read_picture(data)) == TURNED[1]

    def test_a_directory_that_follows_itself_is_read_once(self) -> None:
        assert corners_of(read_picture(with_exif(JPEG, bombs.EXIF_THAT_LOOPS))) == TURNED[6]

    def test_xmp_turns_nothing_as_in_browsers(self) -> None:
        xmp = b'http://ns.adobe.com/xap/1.0/\0<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
        data = JPEG[:2] + b"\xff\xe1" + (len(xmp) + 2).to_bytes(2, "big") + xmp + JPEG[2:]
        assert corners_of(read_picture(data)) == TURNED[1]

    def test_exif_behind_the_pixels_of_a_png(self) -> None:
        whole, end = png(CORNERS), len(png(CORNERS)) - 12
        late = png(CORNERS, (b"eXIf", exif(6)))
        chunk = late[len(late) - 12 - (end - 33) - (len(late) - len(whole)) :][: len(late) - len(whole)]
        assert corners_of(read_picture(whole[:end] + chunk + whole[end:])) == TURNED[6]

    def test_the_shape_of_pixels_is_not_looked_at(self) -> None:
        squeezed = saved(CORNERS, "JPEG", dpi=(72, 144)), saved(CORNERS, "PNG", dpi=(72, 144))
        assert {read_picture(data).shape for data in squeezed} == {(16, 32, 3)}


class TestOnWhite:
    CLEAR = np.array([255, 255, 0, 0, 128, 128, 255, 0], np.uint8)
    """The alpha of each column."""

    def alpha(self, samples: int = 1) -> ByteImage:
        return np.repeat(np.tile(self.CLEAR, (8, 1))[..., None], samples, axis=2)

    def seen(self, pixels: ByteImage) -> NDArray[Any]:
        share = self.alpha() / 255
        return np.rint(np.atleast_3d(pixels) * share + 255 * (1 - share)) + np.zeros(3)

    @pytest.mark.parametrize(
        "write",
        [
            lambda rgba: saved(rgba, "PNG", "RGBA"),
            lambda rgba: saved(rgba, "WEBP", "RGBA", lossless=True, exact=True),
            lambda rgba: png(rgba.astype(np.uint16) * 257),
            lambda rgba: tiff(rgba, {338: (3, 2)}),
            lambda rgba: tiff(rgba, {338: (3, 2)}, ">"),
            lambda rgba: tiff(rgba),
            lambda rgba: tiff(rgba.astype(np.uint16) * 257, {338: (3, 2)}),
            lambda rgba: saved(rgba, "TIFF", "RGBA", compression="tiff_lzw"),
        ],
    )
    def test_colour(self, write: Callable[[ByteImage], bytes]) -> None:
        rgb = read_picture(write(np.dstack([COLOURS, self.alpha()])))
        assert close(rgb, self.seen(COLOURS), 2)

    def test_what_cannot_be_seen_makes_no_difference(self) -> None:
        pictures = []
        for hidden in (0, 200):
            rgba = np.dstack([COLOURS, self.alpha()])
            rgba[rgba[..., 3] == 0, :3] = hidden
            wide = rgba.astype(np.uint16) * 257
            files = saved(rgba, "PNG", "RGBA"), png(wide), tiff(rgba, {338: (3, 2)}), tiff(wide, {338: (3, 2)})
            pictures.append([read_picture(data) for data in files])
        np.testing.assert_array_equal(pictures[0], pictures[1])

    def test_what_is_hidden_does_not_say_what_is_white(self) -> None:
        pictures = []
        for hidden in (0, 65535):
            narrow = np.dstack([scaled(10), np.where(self.alpha() > 0, 65535, 0).astype(np.uint16)])
            narrow[narrow[..., 3] == 0, :3] = hidden
            pictures.append(read_picture(png(narrow)))
        np.testing.assert_array_equal(pictures[0], pictures[1])
        assert close(pictures[1][:, :2], COLOURS[:, :2])

    def test_gray(self) -> None:
        both = np.dstack([RAMP, self.alpha()])
        for data in (png(both), png(both.astype(np.uint16) * 257)):
            assert close(read_picture(data), self.seen(RAMP))

    @pytest.mark.parametrize("order", ["<", ">"])
    def test_gray_tiff(self, order: Order) -> None:
        both = np.dstack([RAMP, self.alpha()])
        for data in (tiff(both, {338: (3, 2)}, order), tiff(both.astype(np.uint16) * 257, {338: (3, 2)}, order)):
            assert close(read_picture(data), self.seen(RAMP))
        negative = np.dstack([255 - RAMP, self.alpha()])
        assert close(read_picture(tiff(negative, {338: (3, 2), 262: (3, 0)}, order)), self.seen(RAMP))
        assert close(read_picture(tiff(both, {338: (3, 2), 274: (3, 3)}, order)), self.seen(RAMP)[::-1, ::-1])
        for predictor in (1, 2):
            packed = saved(both, "TIFF", "LA", compression="tiff_lzw", tiffinfo={317: predictor})
            assert close(read_picture(packed), self.seen(RAMP))

    def test_premultiplied_tiff(self) -> None:
        ready = np.rint(COLOURS * (self.alpha() / 255)).astype(np.uint8)
        rgba = np.dstack([ready, self.alpha()])
        for data in (tiff(rgba, {338: (3, 1)}), tiff(rgba.astype(np.uint16) * 257, {338: (3, 1)})):
            assert close(read_picture(data), self.seen(COLOURS), 2)

    def test_a_fourth_sample_that_is_no_alpha(self) -> None:
        assert close(read_picture(tiff(np.dstack([COLOURS, self.alpha()]), {338: (3, 0)})), COLOURS)

    def test_a_palette_with_transparent_colours(self) -> None:
        indexes = np.tile(np.arange(8, dtype=np.uint8) % 2, (8, 1))
        palette = (b"PLTE", bytes([9, 9, 9, 200, 100, 50])), (b"tRNS", bytes([0, 255]))
        rgb = read_picture(png(indexes, *palette, colour=3))
        assert (rgb[0, 0].tolist(), rgb[0, 1].tolist()) == ([255] * 3, [200, 100, 50])

    def test_a_colour_that_stands_for_transparent(self) -> None:
        one = np.where(RAMP[2, 2] == RAMP, np.uint8(255), RAMP)
        for level, data in (
            (int(RAMP[2, 2]), RAMP),
            (int(RAMP[2, 2]) * 257, RAMP.astype(np.uint16) * 257),
        ):
            rgb = read_picture(png(data, (b"tRNS", level.to_bytes(2, "big"))))
            assert close(rgb, np.dstack([one] * 3))
        wide = COLOURS.astype(np.uint16) * 257
        key = b"".join(int(sample).to_bytes(2, "big") for sample in wide[0, 0])
        assert read_picture(png(wide, (b"tRNS", key)))[0, 0].tolist() == [255] * 3

    def test_a_level_of_four_bits_that_stands_for_transparent(self) -> None:
        packed = np.full((8, 4), 0x35, np.uint8)
        rgb = read_picture(png(packed, (b"tRNS", b"\0\x03"), bits=4))
        assert (rgb[0, 0].tolist(), rgb[0, 1].tolist()) == ([255] * 3, [0x55] * 3)

    def test_gif(self) -> None:
        rgba = np.dstack([np.full((8, 8, 3), 77, np.uint8), np.where(self.alpha() > 0, 255, 0).astype(np.uint8)])
        rgb = read_picture(saved(rgba, "GIF", "RGBA"))
        assert {tuple(rgb[0, 2]), tuple(rgb[0, 0])} == {(255,) * 3, (77,) * 3}

    @pytest.mark.parametrize("opaque", [False, True])
    def test_bmp(self, opaque: bool) -> None:
        """With a mask for alpha, which counts unless it is zero everywhere."""
        rgba = np.dstack([COLOURS[..., ::-1], self.alpha() * (0 if opaque else 1)])
        head = struct.pack("<IiiHHIIiiII", 124, 8, -8, 1, 32, 3, rgba.size, 0, 0, 0, 0)
        head += struct.pack("<IIII4s", 0xFF0000, 0xFF00, 0xFF, 0xFF000000, b"BGRs") + bytes(64)
        data = b"BM" + struct.pack("<IHHI", 138 + rgba.size, 0, 0, 138) + head + rgba.tobytes()
        assert close(read_picture(data), COLOURS if opaque else self.seen(COLOURS))

    def test_a_gif_that_does_not_fill_its_screen(self) -> None:
        """Its background colour is not looked at, as in browsers."""
        data = bytearray(saved(np.full((8, 8, 3), 77, np.uint8), "GIF"))
        data[6:10] = struct.pack("<HH", 40, 20)
        at = data.index(b",\0\0\0\0")
        data[at + 1 : at + 5] = struct.pack("<HH", 10, 5)
        expected = np.full((20, 40, 3), 255)
        expected[5:13, 10:18] = 77
        assert close(read_picture(bytes(data)), expected)


class TestBits:
    @pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
    @pytest.mark.parametrize(
        "write",
        [
            png,
            lambda pixels: png(pixels[..., :1]),
            tiff,
            lambda pixels: pnm(pixels, 65535),
            lambda pixels: png(np.dstack([pixels, np.full((8, 8), 65535, np.uint16)])),
            lambda pixels: png(np.dstack([pixels, np.full((8, 8), pixels.max(), np.uint16)])),
        ],
    )
    def test_narrow_samples_are_scaled_by_what_they_hold(self, write: Callable[[Any], bytes], bits: int) -> None:
        rgb = read_picture(write(scaled(bits)))
        assert close(rgb, COLOURS) or close(rgb, np.dstack([RAMP] * 3))

    @pytest.mark.parametrize("bits", [10, 12])
    def test_what_the_file_says_is_white(self, bits: int) -> None:
        white, dark = (1 << bits) - 1, scaled(bits) // 8
        for data in (
            png(dark, (b"sBIT", bytes([bits] * 3))),
            tiff(dark, {281: (3, [white] * 3)}),
            tiff(dark, {341: (3, [white] * 3)}),
            pnm(dark, white),
            pnm(dark[..., 0], white, comment="# 2 times\n"),
        ):
            rgb = read_picture(data)
            assert close(rgb, COLOURS // 8) or close(rgb, np.dstack([COLOURS[..., 0] // 8] * 3))

    def test_what_is_at_the_top_of_sixteen_bits_stays(self) -> None:
        """As PNG's own sBIT means it, and TIFF with 8 bits in 16."""
        assert close(read_picture(png(scaled(10) << 6, (b"sBIT", bytes([10] * 3)))), COLOURS)
        assert close(read_picture(png(np.full((8, 8), 60 << 8, np.uint16))), np.full((8, 8, 3), 60))

    def test_a_dark_picture_of_sixteen_bits_stays_dark(self) -> None:
        assert close(read_picture(png(scaled(16) // 3)), COLOURS // 3)

    @pytest.mark.parametrize("bits", [10, 12, 14])
    def test_packed_tiff(self, bits: int) -> None:
        for pixels, expected in ((scaled(bits), COLOURS), (scaled(bits) // 8, COLOURS // 8)):
            packed = np.packbits((pixels.reshape(8, -1, 1) >> np.arange(bits)[::-1] & 1).reshape(8, -1), axis=1)
            tags: Tags = {258: (3, [bits] * 3), 262: (3, 2), 277: (3, 3)}
            assert close(read_picture(tiff(packed.astype(np.uint8).tobytes(), tags, size=(8, 8))), expected)

    def test_few_bits(self) -> None:
        bilevel = np.array([[0, 255] * 4] * 8, np.uint8)
        for data in (saved(bilevel, "PNG", "1"), saved(bilevel, "TIFF", "1"), saved(bilevel, "BMP", "1")):
            assert close(read_picture(data), np.dstack([bilevel] * 3))
        assert close(read_picture(pnm(RAMP // 17, 15)), np.dstack([RAMP // 17 * 17] * 3))

    @pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
    def test_tiff_whose_zero_is_white(self, dtype: type) -> None:
        pixels: NDArray[Any] = RAMP.astype(dtype) * (1 if dtype is np.uint8 else 257)
        assert close(read_picture(tiff(pixels, {262: (3, 0)})), 255 - np.dstack([RAMP] * 3))

    @pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16, np.uint32])
    def test_samples_of_rare_kinds_are_refused(self, dtype: type) -> None:
        form = {"f": 3, "i": 2, "u": 1}[np.dtype(dtype).kind]
        with pytest.raises(PictureError, match=r"^has [0-9]+-bit (float |signed |)samples: save it with 8 or 16 bits"):
            read_picture(tiff(COLOURS.astype(dtype), {339: (3, [form] * 3)}))


@pytest.mark.parametrize("kind", ["PNG", "BMP", "WEBP", "TIFF", "JPEG", "GIF"])
@pytest.mark.parametrize("mode", ["RGB", "L", "P", "CMYK"])
def test_reads_colour_and_gray(kind: str, mode: str) -> None:
    if (kind, mode) in {("JPEG", "P"), *((other, "CMYK") for other in ("PNG", "BMP", "WEBP", "GIF"))}:
        mode = "RGB"
    colour = (204, 102, 51)  # of Pillow's palette
    flat = np.full((32, 32, 3), colour, np.uint8)
    expected = colour if mode != "L" else (127,) * 3
    assert np.abs(read_picture(saved(flat, kind, mode)).astype(int) - expected).max() < 30


def test_numbers_as_text_may_end_with_the_file() -> None:
    assert read_picture(b"P3 2 1 255 1 2 3 4 5 6").tolist() == [[[1, 2, 3], [4, 5, 6]]]


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_of_moving_pictures_the_first(kind: str) -> None:
    still = bombs.photo().astype(int)
    assert np.abs(read_picture(bombs.animated(kind)).astype(int) - still).mean() < 25


class TestDamaged:
    def test_a_photo_that_is_cut_short_is_shown_as_far_as_it_is_there(self) -> None:
        photo = bombs.photo()
        for progressive in (False, True):
            data = saved(photo, "JPEG", quality=95, progressive=progressive)
            rgb = read_picture(data[: len(data) * 3 // 4])
            assert rgb.shape == photo.shape
            assert np.abs(rgb[:200].astype(int) - photo[:200]).mean() < 25

    def test_a_camera_that_leaves_out_the_end(self) -> None:
        np.testing.assert_array_equal(read_picture(JPEG[:-2]), read_picture(JPEG))

    def test_what_is_behind_the_end_is_not_looked_at(self) -> None:
        np.testing.assert_array_equal(read_picture(JPEG + JPEG[:-9] + bytes(99)), read_picture(JPEG))

    @pytest.mark.parametrize("data", [b"\xff\xd8\xff\xe0junk", b"GIF89a\x01\0", b"RIFF\0\0\0\0WEBPVP8 ", JPEG[:20]])
    def test_says_so(self, data: bytes) -> None:
        with pytest.raises(PictureError, match=r"^is a (JPEG|GIF|WebP) picture that is damaged, cut short or .*PNG$"):
            read_picture(data)

    @given(st.binary(max_size=300).map(lambda tail: png(RAMP)[:30] + tail))
    def test_is_read_or_refused(self, data: bytes) -> None:
        with suppress(PictureError):
            assert read_picture(data).ndim == 3


@pytest.mark.parametrize("first", ["streamd.daemon", "streamd.jobs.picture"])
def test_whatever_is_imported_first_a_huge_picture_is_refused(first: str) -> None:
    """OpenCV reads the limit when it loads, so it has to be set before."""
    code = (
        f"import sys, {first}; from streamd.render.picture_reader import read_picture\n"
        "try: read_picture(sys.stdin.buffer.read())\n"
        "except Exception as error: print(error)"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENCV_")}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, input=bombs.png(6000, 4400), capture_output=True, check=True, env=environment)
    assert done.stdout.decode().strip() == "is a picture of more than 25 million pixels"


@pytest.mark.parametrize("extension", [".jp2", ".hdr", ".pfm"])
def test_decoders_that_nobody_was_promised_are_out_of_reach(extension: str) -> None:
    pixels = np.zeros((32, 32, 3), np.float32 if extension in (".hdr", ".pfm") else np.uint8)
    with pytest.raises(PictureError, match=r"convert it to JPEG or PNG; streamd reads JPEG, PNG, "):
        read_picture(cv2.imencode(extension, pixels)[1].tobytes())
