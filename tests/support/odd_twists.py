"""What makes a file odd. Each changes a recipe, and knows what containers and codecs can be odd in that way."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from tests.support import odd_patches as patches
from tests.support.odd_recipe import COVER, FFMPEG, Codec, Container, Pixels, Recipe, Sound, ffmpeg, level_of

Fits = Callable[[Container, Codec], bool]
Pairs = AbstractSet[tuple[str, str]]
"""Of container and codec; "*" is any."""

MOVIES = {"mp4", "mov", "3gp"}
TRANSPORT = {"ts", "m2ts"}
BARE = {"h264", "hevc", "mjpeg", "m4v"}
"""One picture after the other, without stamps."""
STAMPED = MOVIES | TRANSPORT | {"mkv", "webm", "flv", "nut"}
"""Whatever stamp a packet has is kept."""
ORDERED = {"h264", "hevc", "mpeg4", "mpeg2"}
"""Codecs with B-frames."""
MUSIC = {"mp3", "m4a", "flac"}


@dataclass(frozen=True)
class Twist:
    name: str
    groups: frozenset[str]
    """What it changes: no two of a group go together."""
    fits: Fits
    apply: Callable[[Recipe], None]
    late: int = 0
    """After those that change what it looks at."""

    def goes_with(self, other: Twist) -> bool:
        return not self.groups & other.groups and "all" not in self.groups | other.groups


TWISTS: dict[str, Twist] = {}


def _twist(
    name: str,
    groups: str,
    *,
    containers: set[str] | None = None,
    codecs: set[str] | None = None,
    but: Pairs = frozenset(),
    late: int = 0,
) -> Callable[[Callable[[Recipe], None]], Callable[[Recipe], None]]:
    """Registers one, for these, ``but`` for some."""

    def fits(container: Container, codec: Codec) -> bool:
        if (container.name in MUSIC) != (name == "cover-only"):
            return False
        pairs = {(container.name, codec.name), ("*", codec.name), (container.name, "*")}
        inside = (containers is None or container.name in containers) and (codecs is None or codec.name in codecs)
        return inside and not pairs & but

    def register(apply: Callable[[Recipe], None]) -> Callable[[Recipe], None]:
        TWISTS[name] = Twist(name, frozenset(groups.split()), fits, apply, late)
        return apply

    return register


# -- turned and mirrored --------------------------------------------------------------------------

MATRICES: dict[str, tuple[patches.Matrix, Callable[[Pixels], Pixels]]] = {
    "turned90": ((0, 1, -1, 0), lambda picture: np.rot90(picture, -1)),
    "turned180": ((-1, 0, 0, -1), lambda picture: np.rot90(picture, 2)),
    "turned270": ((0, -1, 1, 0), np.rot90),
    "mirrored": ((-1, 0, 0, 1), lambda picture: picture[:, ::-1]),
    "flipped": ((1, 0, 0, -1), lambda picture: picture[::-1]),
    "transposed": ((0, 1, 1, 0), lambda picture: picture.swapaxes(0, 1)),
    "transversed": ((0, -1, -1, 0), lambda picture: np.rot90(picture, 2).swapaxes(0, 1)),
}


def _matrix(name: str) -> None:
    matrix, turn = MATRICES[name]

    @_twist(name, "turn", containers=MOVIES, late=1)
    def apply(recipe: Recipe) -> None:
        recipe.turn = turn
        track = int(bool(recipe.before))
        recipe.after.append(patches.display_matrix(matrix, recipe.width, recipe.height, track))


def _orientation(name: str, options: str, turn: Callable[[Pixels], Pixels]) -> None:
    """In the stream itself: H.264's display orientation SEI (D.2.27)."""

    @_twist(name, "turn bitstream", codecs={"h264"})
    def apply(recipe: Recipe) -> None:
        recipe.turn = turn
        recipe.mux += ["-bsf:v", f"h264_metadata=display_orientation=insert:{options}"]


for _name in MATRICES:
    _matrix(_name)
_orientation("sei90", "rotate=90", np.rot90)
_orientation("sei180", "rotate=180", lambda picture: np.rot90(picture, 2))
_orientation("sei-mirrored", "flip=horizontal", lambda picture: picture[:, ::-1])


# -- shape ----------------------------------------------------------------------------------------

# What has a place for any ratio.
_RATIO_IN_CODEC = {"h264", "hevc", "mpeg4", "theora"}
_RATIO_IN_CONTAINER = MOVIES | {"mkv", "webm", "nut", "y4m"}


def _ratio(name: str, ratio: Fraction) -> None:
    @_twist(name, "shape")
    def apply(recipe: Recipe) -> None:
        recipe.sar = ratio

    simple = TWISTS[name].fits

    def fits(container: Container, codec: Codec) -> bool:
        own = codec.name in _RATIO_IN_CODEC or container.name in _RATIO_IN_CONTAINER
        return simple(container, codec) and own and codec.name not in ("dv", "h263", "mpeg2", "mpeg1")

    TWISTS[name] = Twist(name, frozenset({"shape"}), fits, apply)


for _name, _value in (("sar2", Fraction(2)), ("sar64-45", Fraction(64, 45)), ("sar1-2", Fraction(1, 2))):
    _ratio(_name, _value)


@_twist("wide", "shape", codecs={"mpeg2", "dv"}, but={("avi", "mpeg2")})
def _wide(recipe: Recipe) -> None:
    """16:9, which these name instead of a ratio of pixels."""
    recipe.sar = Fraction(16, 9) / Fraction(recipe.width, recipe.height)
    if recipe.codec.name == "dv":
        recipe.sar = Fraction(64, 45)


_FIXED = {("*", "dv"), ("*", "h263")}


@_twist("odd-size", "shape pixels", but=_FIXED | {("*", "wmv2"), ("mjpeg", "*")})
def _odd_size(recipe: Recipe) -> None:
    recipe.width, recipe.height = 321, 239
    recipe.pixels = {"h264": "yuv444p", "hevc": "yuv444p", "huffyuv": "rgb24"}.get(recipe.codec.name, recipe.pixels)


@_twist("tiny", "shape", but=_FIXED | {("*", "theora"), ("*", "av1")})
def _tiny(recipe: Recipe) -> None:
    recipe.width = recipe.height = 16
    recipe.tolerance = 90


# -- pixels ---------------------------------------------------------------------------------------


def _pixels(name: str, *formats: str, but: Pairs = frozenset()) -> None:
    def chosen(codec: Codec) -> str:
        return next((pixels for pixels in formats if pixels in codec.pixels.split()), "")

    @_twist(name, "pixels", but=but)
    def apply(recipe: Recipe) -> None:
        recipe.pixels = chosen(recipe.codec)
        recipe.gray = name.startswith("gray")
        recipe.hidden = name == "alpha"
        if recipe.gray:
            recipe.tolerance = 12

    simple = TWISTS[name].fits
    TWISTS[name] = Twist(
        name, frozenset({"pixels"}), lambda container, codec: simple(container, codec) and bool(chosen(codec)), apply
    )


_pixels("10bit", "yuv420p10le", "yuv444p10le")
_pixels("12bit", "yuv420p12le", but={("webm", "vp8")})
_pixels("gray", "gray")
_pixels("gray16", "gray16le", "gray16be")
_pixels("444", "yuv444p", "yuvj444p")
_pixels("422", "yuv422p", "yuvj422p")
_pixels("rgb", "rgb24", "bgr0")
_pixels("rgb48", "rgb48be")
_pixels("full-range", "yuvj420p")
_pixels("alpha", "yuva420p", "yuva444p10le", "rgba", "bgra", "argb", but={("ivf", "*"), ("nut", "*"), ("mp4", "vp9")})


def _matrix_of_colours(name: str, number: int) -> None:
    """Only the name of it: colours are then approximate."""

    @_twist(name, "pixels bitstream", codecs={"h264"})
    def apply(recipe: Recipe) -> None:
        recipe.tolerance = 255
        recipe.mux += ["-bsf:v", f"h264_metadata=matrix_coefficients={number}"]


for _name, _number in (("ycgco", 8), ("bt2020", 9), ("reserved-matrix", 3), ("ictcp", 14)):
    _matrix_of_colours(_name, _number)


# -- time -----------------------------------------------------------------------------------------


def _shown(recipe: Recipe, beats: list[int], expression: str) -> None:
    recipe.filters.insert(0, f"setpts='({expression})/25/TB'")
    recipe.times = [beat / 25 for beat in beats]
    recipe.sound_s = (beats[-1] + 1) / 25


@_twist("gap", "time", containers=STAMPED, but=_FIXED | {("mov", "prores"), ("*", "mpeg2")})
def _gap(recipe: Recipe) -> None:
    _shown(recipe, [n + 25 * (n >= 10) for n in range(20)], "N+25*gte(N\\,10)")


@_twist("variable", "time", containers=STAMPED, but=_FIXED | {("*", "mpeg2")})
def _variable(recipe: Recipe) -> None:
    _shown(recipe, [n + 2 * (n // 3) for n in range(20)], "N+2*floor(N/3)")


@_twist(
    "slow", "time", containers=STAMPED - {"webm", "flv"}, but=_FIXED | {("*", "mpeg2"), ("*", "mpeg4"), ("*", "av1")}
)
def _slow(recipe: Recipe) -> None:
    recipe.rate, recipe.frames = Fraction(1, 2), 3


def _offset_by(seconds: float) -> list[str]:
    return f"-output_ts_offset {seconds} -muxdelay 0 -muxpreload 0".split()


@_twist("offset", "time", containers=TRANSPORT | {"mkv", "webm", "nut", "mpg", "flv"})
def _offset(recipe: Recipe) -> None:
    recipe.mux += _offset_by(24549.8)


@_twist("wrap", "time", containers=TRANSPORT | {"mpg"})
def _wrap(recipe: Recipe) -> None:
    """Stamps of 33 bits begin again after 95,443.7 s."""
    recipe.mux += _offset_by(95443.3)


@_twist("trimmed", "time all", containers={"mp4", "mov"}, codecs=ORDERED)
def _trimmed(recipe: Recipe) -> None:
    """Pictures before time 0, which an edit list hides."""
    recipe.encode += ["-g", "50"]
    recipe.times, recipe.levels = [n / 25 for n in range(6, 20)], [level_of(n) for n in range(6, 20)]

    def trim(path: Path) -> None:
        copy = path.with_name(f"copy-{path.name}")
        ffmpeg([FFMPEG, "-v", "error", "-y", "-ss", "0.22", "-i", str(path), "-c", "copy", str(copy)])
        copy.replace(path)

    recipe.after.append(trim)


@_twist("missing-stamps", "time", containers=TRANSPORT | {"mpg"})
def _missing(recipe: Recipe) -> None:
    recipe.encode += ["-bf", "0"]
    recipe.after.append(patches.missing_stamps)


@_twist("stray-stamp", "time", containers=TRANSPORT, codecs={"h264", "mpeg2"})
def _stray(recipe: Recipe) -> None:
    recipe.after.append(patches.stray_stamp)


@_twist("b-frames", "time", codecs=ORDERED, but={("avi", "h264"), ("mxf", "*")})
def _b_frames(recipe: Recipe) -> None:
    """Decoded in another order. In an AVI pictures have no time of their own."""
    recipe.encode += ["-bf", "2"]


def _doubled(recipe: Recipe) -> None:
    recipe.seam = True
    recipe.times = [n / 25 for n in range(40)]
    recipe.levels = 2 * [level_of(n) for n in range(20)]


@_twist("joined", "time all", containers=TRANSPORT | BARE - {"m4v"} | {"mpg"})
def _joined(recipe: Recipe) -> None:
    _doubled(recipe)
    recipe.after.append(patches.twice)


@_twist("appended", "time all", containers={"mp4", "mov"}, but=_FIXED)
def _appended(recipe: Recipe) -> None:
    """Another file lies behind it, which players do not see."""
    recipe.after.append(patches.twice)


@_twist("other-pids", "time all", containers={"ts"}, codecs={"h264", "mpeg2"})
def _other_pids(recipe: Recipe) -> None:
    """Joined, and the second part has other PIDs: at least the first is shown."""

    def join(path: Path) -> None:
        copy = path.with_name(f"copy-{path.name}")
        options = "-c copy -mpegts_start_pid 0x300 -mpegts_pmt_start_pid 0x1100"
        ffmpeg([FFMPEG, "-v", "error", "-y", "-i", str(path), "-map", "0", *options.split(), str(copy)])
        path.write_bytes(path.read_bytes() + copy.read_bytes())
        copy.unlink()

    recipe.fewer = True
    _doubled(recipe)
    recipe.after.append(join)


@_twist("resized", "time all", containers={"ts", "h264", "hevc"}, codecs={"h264", "hevc"})
def _resized(recipe: Recipe) -> None:
    """The second half is larger; all is shown in the size of the first."""
    _doubled(recipe)

    def join(path: Path) -> None:
        larger = Recipe(f"larger-{recipe.name}", recipe.container, recipe.codec, 320, 240)
        path.write_bytes(path.read_bytes() + larger.make(path.parent).read_bytes())

    recipe.after.append(join)


@_twist(
    "truncated",
    "time all",
    containers=TRANSPORT | BARE | {"mp4", "mov", "mkv", "webm", "avi", "flv", "nut", "mpg", "ogv"},
    but=_FIXED | {("m4v", "*")},
)
def _truncated(recipe: Recipe) -> None:
    recipe.fewer = True
    recipe.encode += ["-g", "5", "-bf", "0"]
    if recipe.container.name in MOVIES:
        recipe.mux += ["-movflags", "+faststart"]
    recipe.after.append(patches.cut(0.7))


@_twist("fragmented", "index", containers=MOVIES, but={("*", "h263")})
def _fragmented(recipe: Recipe) -> None:
    recipe.mux += ["-movflags", "+frag_keyframe+empty_moov+default_base_moof"]
    recipe.encode += ["-g", "5"]


@_twist("faststart", "index", containers=MOVIES)
def _faststart(recipe: Recipe) -> None:
    recipe.mux += ["-movflags", "+faststart"]


@_twist("interlaced", "fields", codecs={"h264", "mpeg2", "mpeg4"})
def _interlaced(recipe: Recipe) -> None:
    recipe.encode += ["-flags", "+ilme+ildct", "-top", "1"]


# -- tracks ---------------------------------------------------------------------------------------


def _other_track(recipe: Recipe, size: str, seconds: float, *, first: bool, dispositions: str) -> None:
    blue = f"-f lavfi -i color=blue:s={size}:r=25:d={seconds}".split()
    if first:
        recipe.before = blue
    else:
        recipe.behind = blue
    recipe.mux += dispositions.split()


TRACKS = {"mp4", "mov", "mkv", "webm", "nut"}


@_twist("thumbnail", "tracks bitstream time", containers=TRACKS - {"nut"}, but=_FIXED)
def _thumbnail(recipe: Recipe) -> None:
    """One picture, as drones put it before the film."""
    _other_track(recipe, "320x240", 0.04, first=True, dispositions="-disposition:v:0 0 -disposition:v:1 default")


@_twist("second-default", "tracks bitstream time", containers=TRACKS - {"nut"}, but=_FIXED)
def _second_default(recipe: Recipe) -> None:
    _other_track(recipe, "320x240", 0.4, first=True, dispositions="-disposition:v:0 0 -disposition:v:1 default")


@_twist("second-other", "tracks bitstream time", containers=TRACKS - {"nut"}, but=_FIXED)
def _second_other(recipe: Recipe) -> None:
    _other_track(recipe, "320x240", 0.4, first=False, dispositions="-disposition:v:0 default -disposition:v:1 0")


@_twist("second-larger", "tracks bitstream time shape", containers={"ts"}, but=_FIXED)
def _second_larger(recipe: Recipe) -> None:
    """Neither is the default one: the larger is."""
    _other_track(recipe, "80x64", 0.4, first=True, dispositions="")


@_twist("attached", "tracks bitstream time turn", containers={"mp4", "mov", "mkv"}, but=_FIXED)
def _attached(recipe: Recipe) -> None:
    """A cover, which is no film."""
    if recipe.container.name == "mkv":
        recipe.mux += ["-attach", COVER, "-metadata:s:t:0", "mimetype=image/jpeg", "-metadata:s:t:0", "filename=a.jpg"]
        return
    dispositions = "-c:v:0 mjpeg -pix_fmt:v:0 yuvj420p -disposition:v:0 attached_pic"
    _other_track(recipe, "320x240", 0.04, first=True, dispositions=dispositions)


@_twist("cover-only", "all", containers=MUSIC)
def _cover_only(recipe: Recipe) -> None:
    recipe.frames = 1
    recipe.sound_s = 1.0
    recipe.mux += ["-disposition:v:0", "attached_pic"]
    recipe.refused = "has no video"


# -- sound ----------------------------------------------------------------------------------------


@_twist("unknown-sound", "sound", containers={"mp4", "mov", "mkv", "avi", "ts"})
def _unknown_sound(recipe: Recipe) -> None:
    recipe.sounds[-1].known = False
    recipe.after.append(patches.unknown_sound)


@_twist("second-unknown", "sound", containers={"mp4", "mov", "mkv"})
def _second_unknown(recipe: Recipe) -> None:
    recipe.sounds.append(Sound(recipe.container.sound, known=False))
    recipe.after.append(patches.unknown_sound)


def _g711(name: str, codec: str) -> None:
    @_twist(name, "sound", containers={"mov", "mkv", "avi", "flv", "nut"})
    def apply(recipe: Recipe) -> None:
        recipe.sounds = [Sound(codec)]


for _name in ("alaw", "mulaw"):
    _g711(_name, f"pcm_{_name}")


@_twist("late-sound", "sound", containers=STAMPED | {"mpg"}, but={("webm", "*")})
def _late_sound(recipe: Recipe) -> None:
    recipe.sounds[0].start_s = 0.4


@_twist("repeated-sound", "sound time tracks shape", containers={"mkv"}, codecs={"h264", "mpeg4", "vp8", "mjpeg"})
def _repeated_sound(recipe: Recipe) -> None:
    recipe.after.append(patches.repeated_sound_stamp)


@_twist("several-sounds", "sound", containers={"mp4", "mov", "mkv", "ts", "m2ts", "avi", "nut"})
def _several(recipe: Recipe) -> None:
    recipe.sounds += [Sound("ac3"), Sound("ac3")]


@_twist("silent", "sound", but={("dv", "*"), *((name, "*") for name in BARE | {"gif", "apng", "y4m", "ivf"})})
def _silent(recipe: Recipe) -> None:
    recipe.sounds = []
