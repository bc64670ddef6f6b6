"""Pictures in colours that all that follows can convert."""

from __future__ import annotations

import re
from functools import lru_cache

import av
import cv2
from av.video.format import VideoFormat

from streamd.media.frames import Scaler, canvas, yuv_planes

_RGB, _BT709, _UNSPECIFIED, _BT601, _BT2020 = 0, 1, 2, 6, 9
_MATRICES = {1: _BT709, 2: _UNSPECIFIED, 4: _BT601, 5: 5, 6: _BT601, 7: _BT709, 9: _BT2020, 10: _BT2020, 14: _BT2020}
"""AVColorSpace (ITU-T H.273, table 4) to the nearest that swscale and the network's input know."""
_BY_PRIMARIES = {1: _BT709, 9: _BT2020}
_LIMITED, _FULL = 1, 2
_LIMITED_CODECS = ("av1", "h264", "hevc", "libdav1d", "vvc")
"""Limited range is what these mean when they say nothing."""
_FOREIGN = re.compile(
    r"bgr4|rgb4|(gray|gbrap)32..|rgb96..|rgba128..|rgbaf32..|yaf32..|(v30x|xv30|x2bgr10|x2rgb10)be|y21.be"
)
"""What swscale of FFmpeg 8.1 does not convert, or (yaf32) aborts the process at."""


class Colours:
    """For the pictures of one stream. HDR is not tone-mapped: it looks flat."""

    def __init__(self, codec: str) -> None:
        self._means_limited = codec in _LIMITED_CODECS
        self._scaler = Scaler()

    def __call__(self, picture: av.VideoFrame) -> av.VideoFrame:
        """The picture itself, its matrix named anew when it is one that swscale would refuse; transparent ones come
        back on white, gray ones of limited range as yuv420p. Raises ValueError for what cannot be converted."""
        kind = picture.format.name
        if _FOREIGN.fullmatch(kind):
            raise ValueError(f"has pictures of the kind {kind}, which cannot be converted")
        _settle_matrix(picture)
        if _may_be_transparent(kind):
            return self._on_white(picture)
        if kind.startswith("gray") and self._is_limited(picture):
            return self._with_chroma(picture)
        return picture

    def _on_white(self, picture: av.VideoFrame) -> av.VideoFrame:
        rgba = self._scaler.rgba(picture)
        alpha = cv2.extractChannel(rgba, 3)
        if alpha.min() == 255:
            return picture
        rgb = cv2.cvtColor(rgba, cv2.COLOR_RGBA2RGB)
        cv2.bitwise_not(rgb, dst=rgb)  # what each pixel lacks of white is what alpha scales
        cv2.multiply(rgb, cv2.merge([alpha, alpha, alpha]), dst=rgb, scale=1 / 255)
        cv2.bitwise_not(rgb, dst=rgb)
        return _timed_like(picture, av.VideoFrame.from_ndarray(rgb, format="rgb24"))

    def _is_limited(self, picture: av.VideoFrame) -> bool:
        return picture.color_range == _LIMITED or (self._means_limited and picture.color_range != _FULL)

    def _with_chroma(self, picture: av.VideoFrame) -> av.VideoFrame:
        """For swscale takes all gray for full range."""
        width, height = picture.width, picture.height
        result = canvas(width, height)
        luma, *chroma = yuv_planes(result)
        luma[:] = self._scaler.gray(picture)
        for plane in chroma:
            plane[:] = 128
        result.color_range = _LIMITED
        return _timed_like(picture, result)


def _settle_matrix(picture: av.VideoFrame) -> None:
    coded = picture.colorspace
    if coded == _RGB and picture.format.is_rgb:
        return
    if _MATRICES.get(coded) != coded:
        primaries = _BY_PRIMARIES.get(picture.color_primaries, _UNSPECIFIED)
        picture.colorspace = _MATRICES.get(coded, primaries)


@lru_cache(maxsize=512)
def _may_be_transparent(kind: str) -> bool:
    format = VideoFormat(kind)
    return format.has_palette or any(component.is_alpha for component in format.components)


def _timed_like(picture: av.VideoFrame, result: av.VideoFrame) -> av.VideoFrame:
    result.pts, result.time_base = picture.pts, picture.time_base
    return result
