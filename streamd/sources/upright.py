"""Pictures as players show them: upright, with square pixels."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import lru_cache
from typing import Any, cast

import av
import av.filter
from av.sidedata.sidedata import SideDataContainer
from av.video.stream import VideoStream

MAX_ASPECT = 10
"""A header with pixels that are longer is broken."""
MIN_STRETCH = 0.005
"""Encoders round: 4320:4319 is square."""
MAX_PX = 4096 * 4096
"""A picture that would get larger is made smaller the other way."""
_UNNAMED_SIDE_DATA = (28, 29, 30, 31)
"""FFmpeg 8's LCEVC, VIEW_ID, 3D_REFERENCE_DISPLAYS and EXIF, which PyAV 18.1 has no names for."""
_UNSPECIFIED = 2
Filters = tuple[tuple[str, str], ...]
"""(name, arguments) of each."""
Matrix = tuple[int, ...]


class Upright:
    """Turns, mirrors and stretches the pictures of one stream as ffmpeg(1) does: by their display matrix, which is in
    the container, in H.264 and HEVC, or in the EXIF data of a JPEG, and by their sample aspect ratio."""

    def __init__(self, stream: VideoStream) -> None:
        self._context = stream.codec_context
        declared = stream.sample_aspect_ratio
        self._declared = declared if declared != self._context.sample_aspect_ratio else None
        """The container's own, which holds for all of its pictures."""
        self._matrix: Matrix | None = None
        self._graph, self._stripped = _Graph(), _Graph()

    def __call__(self, decoded: av.VideoFrame, picture: av.VideoFrame) -> av.VideoFrame:
        """``picture``, which shows ``decoded`` in other colours perhaps; itself when there is nothing to do."""
        width, height = square_size(picture.width, picture.height, self._declared or self._context.sample_aspect_ratio)
        matrix = self._matrix_of(decoded)
        if matrix is not None or decoded.key_frame:  # that of an SEI message comes once and holds until the next
            self._matrix = matrix
        filters = turning(self._matrix)
        if (width, height) != (picture.width, picture.height):
            filters = (("scale", f"{width}:{height}"), *filters)
        return self._graph(picture, filters) if filters else picture

    def _matrix_of(self, picture: av.VideoFrame) -> Matrix | None:
        try:
            sides = _side_data(picture)
        except ValueError:  # one of the kinds that PyAV has no name for hides all others
            strip = tuple(("sidedata", f"delete:{number}") for number in _UNNAMED_SIDE_DATA)
            sides = _side_data(self._stripped(picture, strip))
        matrix = sides.get("DISPLAYMATRIX") if len(sides) else None
        return struct.unpack("9i", bytes(matrix)) if matrix is not None and matrix.buffer_size == 36 else None


_side_data: Callable[[av.VideoFrame], Mapping[str, Any]] = cast(Any, SideDataContainer)
"""Not ``picture.side_data``: the two would refer to each other, and pictures stay in memory until Python collects
garbage, up to 50 of each stream (measured with PyAV 18.1). Raises ValueError."""


@lru_cache(maxsize=256)
def square_size(width: int, height: int, aspect: Fraction | None) -> tuple[int, int]:
    """(width, height) that shows a picture in its shape; even where they change, and never smaller, up to MAX_PX.
    ``aspect``: a pixel's width by its height."""
    if not aspect or not Fraction(1, MAX_ASPECT) <= aspect <= MAX_ASPECT or abs(aspect - 1) < MIN_STRETCH:
        return width, height
    wider, higher = (_even(width * aspect), height), (width, _even(height / aspect))
    larger, smaller = (wider, higher) if aspect > 1 else (higher, wider)
    return larger if larger[0] * larger[1] <= MAX_PX else smaller


def _even(side: Fraction) -> int:
    return max(2, 2 * round(side / 2))


def turning(matrix: Matrix | None) -> Filters:
    """What ffmpeg(1) does by a display matrix (``ffmpeg_filter.c``). An angle that is no quarter turn leaves the
    picture's size and cuts its corners off."""
    if matrix is None:
        return ()
    a, b, _, c, d = matrix[:5]
    if not math.hypot(a, c) or not math.hypot(b, d):
        return ()
    clockwise = round(math.degrees(math.atan2(b / math.hypot(b, d), a / math.hypot(a, c)))) % 360
    if clockwise == 90:
        return (("transpose", "cclock_flip" if c > 0 else "clock"),)
    if clockwise == 270:
        return (("transpose", "clock_flip" if c < 0 else "cclock"),)
    if clockwise not in (0, 180):
        return (("rotate", f"{clockwise}*PI/180"),)
    mirrors = (("hflip", ""),) if clockwise == 180 and a < 0 else ()
    return (*mirrors, ("vflip", "")) if d < 0 else mirrors


class _Graph:
    """A filter graph, made anew when the filters or the kind of picture change."""

    def __init__(self) -> None:
        self._graph = av.filter.Graph()
        self._made_for: object = None

    def __call__(self, picture: av.VideoFrame, filters: Filters) -> av.VideoFrame:
        # Those that swscale does not know would make it refuse the picture. They do not change here.
        picture.color_primaries = picture.color_trc = _UNSPECIFIED
        colours = (picture.colorspace, picture.color_range)
        key = (filters, picture.width, picture.height, picture.format.name, colours)
        if key != self._made_for:
            self._graph, self._made_for = _build(picture, filters), key
        self._graph.push(picture)
        result = self._graph.pull()
        assert isinstance(result, av.VideoFrame)
        result.pts, result.time_base = picture.pts, picture.time_base
        return result


def _build(picture: av.VideoFrame, filters: Filters) -> av.filter.Graph:
    graph = av.filter.Graph()
    graph.threads = 1
    source = graph.add(
        "buffer",
        video_size=f"{picture.width}x{picture.height}",
        pix_fmt=picture.format.name,
        time_base="1/90000",
        colorspace=str(int(picture.colorspace)),
        range=str(int(picture.color_range)),
    )
    nodes = [graph.add(name, arguments) for name, arguments in filters]
    graph.link_nodes(source, *nodes, graph.add("buffersink")).configure()
    return graph
