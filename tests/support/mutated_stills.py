"""Damaged picture files, each the same for the same seed: ``python -m tests.support.mutated_stills --count 1000``.

Each must give a result or a PictureError of one line, within 20 s and 1 GB. The network is played: what is tried is
what lies between a file and a depth file.
"""

from __future__ import annotations

import argparse
import faulthandler
import resource
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np

from streamd.config.sections import FORMATS, VIEWS
from streamd.depth.service import DepthService
from streamd.errors import PictureError
from streamd.jobs.picture import depth_of_picture
from tests.support import bombs
from tests.support.bombs import photo, saved, with_exif
from tests.support.mutate import mutated
from tests.support.picture_files import exif, heic, png, pnm, tiff, webp_with_exif
from tests.support.played import PlayedService

LIMIT_S = 20
LIMIT_MB = 1024
ROOM_BYTES = 6 << 30
"""So that what takes too much is seen, and the machine lives."""


def originals() -> list[bytes]:
    """Small ones of every kind that is read."""
    rgb = photo(64, 48)
    rgba = np.dstack([rgb, rgb[..., 0]])
    gray = rgb[..., 0]
    wide = rgb.astype(np.uint16) * 16
    return [
        saved(rgb, "JPEG"),
        saved(rgb, "JPEG", progressive=True),
        saved(rgb, "JPEG", "L"),
        saved(rgb, "JPEG", "CMYK"),
        with_exif(saved(rgb, "JPEG"), exif(6)),
        saved(rgb, "PNG"),
        png(np.dstack([wide, wide[..., :1]]), (b"eXIf", exif(8))),
        png(wide[..., 0], (b"sBIT", b"\x0c"), (b"tRNS", b"\0\x10")),
        saved(rgb, "PNG", "P", transparency=3),
        saved(rgb, "WEBP"),
        webp_with_exif(saved(rgb, "WEBP"), 64, 48, exif(5)),
        saved(rgba, "WEBP", "RGBA", lossless=True),
        saved(rgb, "BMP"),
        saved(rgb, "BMP", "1"),
        saved(rgb, "GIF"),
        *(bombs.animated(kind) for kind in ("GIF", "WEBP", "PNG")),
        tiff(wide, {274: (3, 7), 281: (3, [4095] * 3)}),
        tiff(rgba, {338: (3, 2)}, ">"),
        tiff(rgba[..., 2:], {338: (3, 2), 274: (3, 3)}),
        *(saved(rgb, "TIFF", compression=name) for name in ("tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits")),
        saved(rgb, "TIFF", big_tiff=True),
        saved(rgb, "TIFF", "1", compression="group4"),
        pnm(gray, 255),
        pnm(wide, 4095, "# of a camera\n"),
        saved(rgb, "AVIF", exif=b"Exif\0\0" + exif(6)),
        saved(rgba, "AVIF", "RGBA"),
        heic(rgb),
        heic(rgba, "RGBA"),
    ]


def mutants(count: int, seed: int) -> Iterator[tuple[int, bytes]]:
    """With the number of each, by which ``mutated`` makes it again."""
    files = originals()
    for number in range(seed * 1_000_000, seed * 1_000_000 + count):
        yield number, mutated(files[number % len(files)], number)


def outcome(number: int, data: bytes) -> str:
    """``read`` or ``refused``. Any other error than a PictureError of one line is raised."""
    view, format = VIEWS[number % len(VIEWS)], FORMATS[number % len(FORMATS)]
    try:
        made = depth_of_picture(data, cast(DepthService, PlayedService()), view, format)
    except PictureError as error:
        if len(str(error).splitlines()) == 1:
            return "refused"
        raise
    assert len(made) > 0
    return "read"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    faulthandler.enable()
    resource.setrlimit(resource.RLIMIT_DATA, (ROOM_BYTES, ROOM_BYTES))
    counts: Counter[str] = Counter()
    for number, data in mutants(options.count, options.seed):
        faulthandler.dump_traceback_later(LIMIT_S, exit=True)
        try:
            counts[outcome(number, data)] += 1
        except BaseException:
            print(f"number {number}", file=sys.stderr)
            raise
    faulthandler.cancel_dump_traceback_later()
    # Not ru_maxrss, which begins with what the process that started this one had.
    peak_mb = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) // 1024
    if peak_mb > LIMIT_MB:
        sys.exit(f"took {peak_mb} MB")
    print(f"{counts['read']} read, {counts['refused']} refused, at most {peak_mb} MB")


if __name__ == "__main__":
    main()
