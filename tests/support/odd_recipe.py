"""How an odd file is made, and what is in it: containers, codecs, and a recipe that oddities change."""

from __future__ import annotations

import subprocess
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

FFMPEG = "/usr/bin/ffmpeg"
COVER = "COVER"
"""In a command: the path of a blue picture."""
Pixels = NDArray[np.uint8]

WHITE, RED, LIME, GRAY, BLUE, HIDDEN = (255,) * 3, (255, 0, 0), (0, 255, 0), (64,) * 3, (0, 0, 255), (255, 0, 255)


@dataclass(frozen=True)
class Codec:
    """``pixels``: what FFmpeg calls those that it takes, the usual first."""

    name: str
    options: str
    pixels: str = "yuv420p"

    @property
    def encoder(self) -> list[str]:
        return ["-c:v", *self.options.split()]


@dataclass(frozen=True)
class Container:
    """``sound``: its usual codec, none where it holds none."""

    name: str
    codecs: tuple[str, ...]
    sound: str = ""
    options: str = ""
    suffix: str = ""

    @property
    def ending(self) -> str:
        return self.suffix or self.name


def _codecs() -> dict[str, Codec]:
    x265 = "libx265 -preset ultrafast -x265-params log-level=none:ctu=16:min-cu-size=8"
    webm = "-deadline realtime -cpu-used 8 -b:v 1M"
    table = [
        Codec(
            "h264", "libx264 -preset ultrafast -crf 15 -threads 1", "yuv420p yuv444p yuv422p yuvj420p yuv420p10le gray"
        ),
        Codec("hevc", f"{x265} -crf 15", "yuv420p yuv444p yuv422p yuv420p10le yuv420p12le gray"),
        Codec("mpeg4", "mpeg4 -q:v 2"),
        Codec("mpeg2", "mpeg2video -q:v 2", "yuv420p yuv422p"),
        Codec("mpeg1", "mpeg1video -q:v 2"),
        Codec("mjpeg", "mjpeg -q:v 2", "yuvj420p yuvj422p yuvj444p"),
        Codec("vp8", f"libvpx {webm} -auto-alt-ref 0", "yuv420p yuva420p"),
        Codec("vp9", f"libvpx-vp9 {webm}", "yuv420p yuv444p yuv420p10le yuv420p12le yuva420p"),
        Codec("av1", "libaom-av1 -usage realtime -cpu-used 8 -crf 15", "yuv420p yuv420p10le"),
        Codec("prores", "prores_ks", "yuv422p10le yuv444p10le yuva444p10le"),
        Codec("ffv1", "ffv1", "yuv420p yuv444p yuv422p yuv420p10le yuv420p12le gray gray16le bgra yuva420p bgr0"),
        Codec("huffyuv", "huffyuv", "yuv422p rgb24 bgra"),
        Codec("theora", "libtheora -q:v 10"),
        Codec("flv1", "flv -q:v 2"),
        Codec("h263", "h263 -q:v 2"),
        Codec("wmv2", "wmv2 -q:v 2"),
        Codec("msmpeg4", "msmpeg4 -q:v 2"),
        Codec("dv", "dvvideo"),
        Codec("qtrle", "qtrle", "rgb24 argb"),
        Codec("rawvideo", "rawvideo"),
        Codec("gif", "gif", "rgb8"),
        Codec("apng", "apng", "rgb24 rgba gray"),
        Codec("png", "png", "rgb24 rgba gray gray16be rgb48be"),
    ]
    return {codec.name: codec for codec in table}


def _containers() -> dict[str, Container]:
    table = [
        Container("mp4", ("h264", "hevc", "mpeg4", "mpeg2", "mjpeg", "vp9", "av1"), "aac"),
        Container("mov", ("h264", "hevc", "mpeg4", "mjpeg", "prores", "dv", "qtrle", "png"), "aac"),
        Container("3gp", ("h264", "mpeg4", "h263"), "aac"),
        Container(
            "mkv",
            (
                "h264",
                "hevc",
                "mpeg4",
                "mpeg2",
                "mjpeg",
                "vp8",
                "vp9",
                "av1",
                "ffv1",
                "theora",
                "huffyuv",
                "prores",
                "png",
            ),
            "libmp3lame",
        ),
        Container("webm", ("vp8", "vp9", "av1"), "libopus"),
        Container("ts", ("h264", "hevc", "mpeg2", "mpeg4"), "aac", "-f mpegts"),
        Container("m2ts", ("h264", "hevc", "mpeg2"), "ac3", "-f mpegts -mpegts_m2ts_mode 1"),
        Container("avi", ("mpeg4", "mjpeg", "h264", "huffyuv", "ffv1", "rawvideo", "flv1", "wmv2", "dv", "png"), "mp2"),
        Container("flv", ("h264", "flv1"), "aac"),
        Container("ogv", ("theora",), "libvorbis"),
        Container("nut", ("h264", "mpeg4", "mpeg2", "vp9", "ffv1", "rawvideo", "mjpeg", "huffyuv"), "flac"),
        Container("mpg", ("mpeg2", "mpeg1"), "mp2"),
        Container("mxf", ("mpeg2", "dv"), "pcm_s16le"),
        Container("wmv", ("wmv2", "msmpeg4"), "wmav2"),
        Container("gif", ("gif",)),
        Container("apng", ("apng",), suffix="png", options="-f apng"),
        Container("y4m", ("rawvideo",), options="-c:v wrapped_avframe"),
        Container("h264", ("h264",)),
        Container("hevc", ("hevc",)),
        Container("mjpeg", ("mjpeg",)),
        Container("m4v", ("mpeg4",)),
        Container("ivf", ("vp8", "vp9", "av1")),
        Container("dv", ("dv",), "pcm_s16le"),
        Container("mp3", ("mjpeg",), "libmp3lame"),
        Container("m4a", ("mjpeg",), "aac"),
        Container("flac", ("mjpeg",), "flac"),
    ]
    return {container.name: container for container in table}


CODECS, CONTAINERS = _codecs(), _containers()
IN_MP4 = {"aac", "libmp3lame", "mp2", "ac3", "libopus", "flac"}
"""What sound every player reads in an MP4."""


@dataclass
class Sound:
    codec: str
    start_s: float = 0.0
    """After the first picture."""
    known: bool = True


@dataclass
class Truth:
    """What a player shows of the file."""

    times: list[float]
    """Of the pictures, s; their differences count."""
    levels: list[int]
    """Grays in the middle: which picture it is."""
    size: tuple[float, float]
    """As seen: square pixels, upright."""
    corners: Pixels
    """Colours of the corners, (4, 3): left and right above, left and right below."""
    beat_s: float
    sounds: list[tuple[float, float]]
    """Start and end of each track, after the first picture, s."""
    refused: str = ""
    """What its refusal contains, if it is none of ours to convert."""
    fewer: bool = False
    """It is cut: how many pictures are left depends on where."""
    seam: bool = False
    """It is joined: there sound and pictures can be up to a beat apart."""
    tolerance: int = 45
    hidden: bool = False
    """There is a transparent spot with HIDDEN below, which nobody may see."""


@dataclass
class Recipe:
    """Of one file. Oddities change it; ``make`` follows it."""

    name: str
    container: Container
    codec: Codec
    width: int = 160
    height: int = 120
    rate: Fraction = Fraction(25)
    frames: int = 20
    pixels: str = ""
    sar: Fraction = Fraction(1)
    turn: Callable[[Pixels], Pixels] = np.asarray
    """What a player does to the pictures."""
    filters: list[str] = field(default_factory=list)
    encode: list[str] = field(default_factory=list)
    mux: list[str] = field(default_factory=list)
    before: list[str] = field(default_factory=list)
    """Another video track, in front of this one: an input of FFmpeg."""
    behind: list[str] = field(default_factory=list)
    sounds: list[Sound] = field(default_factory=list)
    after: list[Callable[[Path], None]] = field(default_factory=list)
    """What is done to the file when it is there."""
    times: list[float] | None = None
    levels: list[int] | None = None
    silent: bool = False
    refused: str = ""
    fewer: bool = False
    seam: bool = False
    gray: bool = False
    hidden: bool = False
    tolerance: int = 45
    sound_s: float | None = None

    def __post_init__(self) -> None:
        self.pixels = self.codec.pixels.split()[0]
        if self.container.sound:
            self.sounds = [Sound(self.container.sound)]
        if self.codec.name == "dv":  # of one size only
            self.width, self.height, self.sar, self.frames = 720, 576, Fraction(16, 15), 12
        if self.codec.name == "h263":
            self.width, self.height, self.sar, self.rate = 176, 144, Fraction(12, 11), Fraction(30_000, 1001)
        if self.codec.name == "gif":
            self.tolerance = 70  # of 256 colours

    @property
    def output(self) -> str:
        """The ending of what it is converted to: what can hold its sound, else either."""
        if any(sound.known and sound.codec not in IN_MP4 for sound in self.sounds):
            return ".mkv"
        return (".mp4", ".mkv")[zlib.crc32(self.name.encode()) % 2]

    @property
    def length_s(self) -> float:
        return float(self.frames / self.rate)

    def truth(self) -> Truth:
        times = self.times or [float(n / self.rate) for n in range(self.frames)]
        levels = self.levels or [level_of(n) for n in range(self.frames)]
        shown = self.turn(drawn(0, 8, 8))
        corners = shown[[0, 0, -1, -1], [0, -1, 0, -1]]
        if self.gray:
            corners = np.repeat((corners @ (0.299, 0.587, 0.114)).round().astype(np.uint8)[:, None], 3, axis=1)
        width, height = self.width * float(self.sar), float(self.height)
        if self.turn(np.zeros((1, 2, 3), np.uint8)).shape[0] == 2:
            width, height = height, width
        end_s = self.sound_s or times[-1] - times[0] + float(1 / self.rate)
        return Truth(
            times,
            levels,
            (width, height),
            corners,
            float(1 / self.rate),
            [(sound.start_s, end_s) for sound in self.sounds if sound.known],
            self.refused,
            self.fewer,
            self.seam,
            tolerance=self.tolerance,
            hidden=self.hidden,
        )

    def make(self, folder: Path) -> Path:
        """Writes the file. Raises CalledProcessError: the combination is none."""
        path = folder / f"{self.name}.{self.container.ending}"
        pictures = film(folder, self.width, self.height, self.frames, alpha=self.hidden)
        given = "rgba" if self.hidden else "rgb24"
        raw = f"-f rawvideo -pix_fmt {given} -s {self.width}x{self.height} -r {self.rate} -i".split()
        inputs = [*self.before, *raw, str(pictures), *self.behind]
        number = inputs.count("-i")
        maps = [f"-map {n}:v" for n in range(number)]
        for n, sound in enumerate(self.sounds):
            rate = 8000 if sound.codec in ("pcm_alaw", "pcm_mulaw") else 48_000
            end_s = self.sound_s or self.length_s
            inputs += [*f"-itsoffset {sound.start_s} -f lavfi -i sine=r={rate}:d={end_s - sound.start_s}".split()]
            maps += [f"-map {number + n}:a -c:a:{n} {sound.codec} -ac 2"]
        sar = [f"setsar={self.sar.numerator}/{self.sar.denominator}"]
        own = int("-i" in self.before)
        command = [
            *(FFMPEG, "-v", "error", "-nostdin", "-y", *inputs),
            *" ".join(maps).split(),
            *(*self.codec.encoder, "-pix_fmt", self.pixels, *self.encode),
            *(f"-filter:v:{own}", ",".join([*self.filters, *sar])),
            *("-fps_mode", "passthrough", "-flags", "+bitexact", "-fflags", "+bitexact"),
            *self.container.options.split(),
            *(*self.mux, str(path)),
        ]
        if COVER in command:
            cover = folder / "cover.jpg"
            cv2.imwrite(str(cover), np.full((240, 320, 3), BLUE[::-1], np.uint8))
            command[command.index(COVER)] = str(cover)
        ffmpeg(command)
        for change in self.after:
            change(path)
        return path


def ffmpeg(command: Sequence[str]) -> bytes:
    """Its standard output. Raises CalledProcessError with what it reported."""
    return subprocess.run(command, check=True, capture_output=True, timeout=60).stdout


def level_of(number: int) -> int:
    return 40 + 8 * (number % 24)


def drawn(number: int, width: int, height: int) -> Pixels:
    """(h, w, 3): corners white, red and lime, the rest gray; a square in the middle grows brighter from one to the
    next."""
    picture = np.full((height, width, 3), GRAY, np.uint8)
    across, down = width // 4, height // 4
    picture[:down, :across], picture[:down, -across:], picture[-down:, :across] = WHITE, RED, LIME
    picture[3 * height // 8 : 5 * height // 8, 3 * width // 8 : 5 * width // 8] = level_of(number)
    return picture


def film(folder: Path, width: int, height: int, frames: int, *, alpha: bool = False) -> Path:
    """Raw RGB pictures, made once. With ``alpha``, the middle of the lower edge is transparent, and HIDDEN."""
    path = folder / f"film-{width}x{height}x{frames}{'a' * alpha}.rgb"
    if not path.exists():
        pictures = np.stack([drawn(number, width, height) for number in range(frames)])
        if alpha:
            pictures = np.concatenate([pictures, np.full_like(pictures[..., :1], 255)], axis=3)
            pictures[:, 3 * height // 4 :, 3 * width // 8 : 5 * width // 8] = (*HIDDEN, 0)
        path.write_bytes(pictures.tobytes())
    return path
