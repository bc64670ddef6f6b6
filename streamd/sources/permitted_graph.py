"""Which ``lavfi:`` graphs the API may set: patterns and plain changes of a picture that touch neither files nor the
network, give every picture in bounded time, and fit in memory. FFmpeg cannot be interrupted within a picture."""

from __future__ import annotations

import re
from fractions import Fraction

MAX_SIDE_PX = 4096
MAX_FPS = 240
MAX_FILTERS = 16

_COMMON = "size s rate r duration d sar"
_FIRST = ("size", "rate", "duration", "sar")
"""The names of options that are given without one, in this order."""
_BARS = ("nullsrc", "pal100bars", "pal75bars", "rgbtestsrc", "smptebars", "smptehdbars", "yuvtestsrc")
_PATTERNS = dict.fromkeys(("allrgb", "allyuv", *_BARS), "") | {
    "color": "color c",
    "colorspectrum": "type",
    "gradients": "c0 c1 c2 c3 c4 c5 c6 c7 n nb_colors seed speed t type x0 x1 y0 y1",
    "life": "mold random_fill_ratio random_seed ratio rule seed stitch",  # its first without a name is a file
    "sierpinski": "jump seed type",
    "testsrc": "decimals n",
    "testsrc2": "alpha",
    "zoneplate": "k0 kt kt2 ku kv kx kx2 kxt kxy ky ky2 kyt precision to xo yo",
}
"""Not ``mandelbrot``: one picture may take minutes."""
_CHANGES = {
    "colorbalance": "bh bm bs gh gm gs pl rh rm rs",
    "drawbox": "c color h height t thickness w width x y",
    "drawgrid": "c color h height t thickness w width x y",
    "eq": "brightness contrast gamma gamma_b gamma_g gamma_r gamma_weight saturation",
    "fade": "alpha c color d duration n nb_frames s st start_frame start_time t type",
    "format": "pix_fmts",
    "fps": "fps",
    "hflip": "",
    "hue": "H b h s",
    "negate": "components negate_alpha",
    "noise": "all_flags all_seed all_strength allf alls",
    "null": "",
    "setsar": "r ratio sar",
    "transpose": "dir passthrough",
    "vflip": "",
}
"""None that may take pictures and give none (``trim``, ``select``), nor one that waits (``realtime``)."""
_OPTIONS = {name: set(f"{own} {_COMMON}".split()) for name, own in _PATTERNS.items()} | {
    name: set(own.split()) for name, own in _CHANGES.items()
}
_UNNAMED = {
    "color": ("color", *_FIRST),
    "format": ("pix_fmts",),
    "fps": ("fps",),
    "setsar": ("sar",),
    "transpose": ("dir",),
} | dict.fromkeys((*_BARS, "testsrc", "testsrc2"), _FIRST)
_STANDARDS = "ntsc pal qntsc qpal sntsc spal film ntsc-film"
"""Names of a rate and of a size."""
_SIZES = frozenset(
    f"""
    {_STANDARDS} sqcif qcif cif 4cif 16cif qqvga qvga vga svga xga uxga qxga sxga qsxga
    wvga wxga wsxga wuxga woxga wqsxga wquxga cga ega hd480 hd720 hd1080 quadhd 2k 2kdci 2kflat 2kscope 4k 4kdci 4kflat
    4kscope nhd hqvga wqvga fwqvga hvga qhd uhd2160
    """.split()
)
_RATES = frozenset(_STANDARDS.split())
_FILTER = re.compile(r"(\[\w+\])*(?P<name>[a-z0-9]+)(=(?P<arguments>[^\[\]]*))?(\[\w+\])*", re.ASCII)
_SIZE = re.compile(r"(\d{1,4})x(\d{1,4})", re.ASCII)
_RATE = re.compile(r"\d{1,9}(\.\d{1,9}|/[1-9]\d{0,8})?", re.ASCII)
_PLAIN = re.compile(r"[\w.|/+*#@-]{1,64}", re.ASCII)
"""No call of a function: ``while`` may go on for ever."""


def graph_reason(graph: str) -> str | None:
    """Why the API may not set it; None: it may.

    Without quotes and backslashes, FFmpeg ends a filter at each of ``, ; [``, and nowhere else.
    """
    if set(graph) & set("'\\"):
        return "the API may not set a lavfi: graph with quotes or backslashes"
    filters = re.split("[,;]", graph)
    if len(filters) > MAX_FILTERS:
        return f"the API may not set a lavfi: graph of more than {MAX_FILTERS} filters"
    return next(filter(None, (_filter_reason(text.strip()) for text in filters)), None)


def _filter_reason(text: str) -> str | None:
    found = _FILTER.fullmatch(text)
    unknown = f"the API may not set a lavfi: graph with {text.partition('=')[0][:24]!a}, or not like this"
    if found is None or found["name"] not in _OPTIONS:
        return unknown
    name, unnamed = found["name"], list(_UNNAMED.get(found["name"], ()))
    for argument in filter(None, (found["arguments"] or "").split(":")):
        key, equals, value = argument.rpartition("=")
        if not equals:
            key = unnamed.pop(0) if unnamed else ""
        if key.strip() not in _OPTIONS[name]:
            return unknown
        if reason := _value_reason(name, key.strip(), value.strip()):
            return reason
    return None


def _value_reason(name: str, key: str, value: str) -> str | None:
    if name in _PATTERNS and key in ("s", "size"):
        found = _SIZE.fullmatch(value)
        is_small = value in _SIZES or (found is not None and max(int(found[1]), int(found[2])) <= MAX_SIDE_PX)
        return None if is_small else f"the API may not set a picture of more than {MAX_SIDE_PX} pixels a side"
    if name == "fps" or (name in _PATTERNS and key in ("r", "rate")):
        is_usual = value in _RATES or (_RATE.fullmatch(value) is not None and 1 <= Fraction(value) <= MAX_FPS)
        return None if is_usual else f"the API may not set a rate that is not from 1 to {MAX_FPS} pictures a second"
    return None if _PLAIN.fullmatch(value) else f"the API may not set a lavfi: graph with this value of {key}"
