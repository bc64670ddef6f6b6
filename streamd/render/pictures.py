"""Stills: read from any picture file, written as colour, 16-bit depth, arrays or a point cloud."""

from __future__ import annotations

import io
import re
from dataclasses import asdict, dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from streamd.config.sections import PictureFormat, View
from streamd.errors import PictureError
from streamd.media.frames import ByteImage, FloatImage, Provenance
from streamd.render.pointcloud import ply
from streamd.render.views import still_view

CONTENT_TYPES: dict[PictureFormat, str] = {
    "jpg": "image/jpeg",
    "png": "image/png",
    "png16": "image/png",
    "npz": "application/octet-stream",
    "ply": "application/octet-stream",
}


MAX_PIXELS = 24 * 1024 * 1024
"""A camera's 24 megapixels. What is larger takes too much memory for one that others watch videos of."""
MAX_POINTS = 9 * 1024 * 1024
"""Of a point cloud, which takes five times the memory: a picture of 3840x2160 has one."""
_SIGNATURES = re.compile(rb"\xff\xd8\xff|\x89PNG|GIF8|RIFF....WEBP|BM|II\*\0|MM\0\*", re.DOTALL)


@dataclass(frozen=True)
class Still:
    """One picture and its depth, all of one size."""

    rgb: ByteImage
    """(h, w, 3)."""
    inverse_depth: FloatImage
    """(h, w), larger is nearer."""
    share: FloatImage
    """(h, w) in [0, 1]: inverse depth within the range shown, as jpg and png have it."""
    network_output: FloatImage
    """Exactly as the network gave it: own size, own polarity."""
    provenance: Provenance
    horizontal_fov_degrees: float = 60.0


def read_picture(data: bytes) -> ByteImage:
    """A JPEG, PNG, WebP, BMP, TIFF or GIF file to (h, w, 3) RGB, upright as its EXIF says. Raises PictureError.

    OpenCV's other decoders (JPEG 2000, AVIF, HDR ...) are out of reach: less for strangers to try, and the
    first takes three times the memory. It looks at the size in the header before it decodes anything.
    """
    if _SIGNATURES.match(data) is None:
        raise PictureError("is not a picture that can be read")
    try:
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        raise PictureError(f"is a picture of more than {MAX_PIXELS / 1e6:.0f} million pixels") from None
    if pixels is None:
        raise PictureError("is not a picture that can be read")
    rgb = np.asarray(pixels)
    _swap(rgb)
    return rgb


def share_of(inverse_depth: FloatImage, out: FloatImage | None = None) -> FloatImage:
    """A still by itself: its own minimum and maximum become 0 and 1. In ``out``, which may be the same."""
    low, high = float(inverse_depth.min()), float(inverse_depth.max())
    share = np.subtract(inverse_depth, np.float32(low), out=out)
    share /= np.float32(max(high - low, 1e-12))
    return share


def encode_still(still: Still, view: View, format: PictureFormat) -> bytes:
    """The bytes of a file. Raises PictureError when the format cannot hold what is asked for."""
    if format in ("jpg", "png"):
        return encode_share(view, format, still.share, still.rgb)
    if format == "png16":
        return encode_share(view, format, share_of(still.inverse_depth), still.rgb)
    if format == "ply":
        if still.inverse_depth.size > MAX_POINTS:
            raise PictureError(f"has more pixels than the {MAX_POINTS / 1e6:.0f} million points that a ply may have")
        return ply(still.inverse_depth, still.rgb, still.horizontal_fov_degrees)
    return _npz(still)


def encode_share(view: View, format: PictureFormat, share: FloatImage, rgb: ByteImage) -> bytes:
    """The bytes of a jpg, png or png16, which need no more than this. ``share`` and ``rgb`` are as in Still."""
    if format == "png16":
        scaled = share * np.float32(65535)
        return _encode(".png", np.rint(scaled, out=scaled).astype(np.uint16))
    pixels = still_view(view, share, rgb)
    if pixels is rgb:
        pixels = rgb.copy()
    _swap(pixels)
    return _encode(f".{format}", pixels)


def _swap(pixels: ByteImage) -> None:
    """RGB to OpenCV's BGR and back, in place: of a large picture a second copy would be too much."""
    first = pixels[..., 0].copy()
    pixels[..., 0] = pixels[..., 2]
    pixels[..., 2] = first


def _encode(extension: str, pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> bytes:
    options = [cv2.IMWRITE_JPEG_QUALITY, 92] if extension == ".jpg" else [cv2.IMWRITE_PNG_COMPRESSION, 3]
    done, data = cv2.imencode(extension, pixels, options)
    if not done:
        raise PictureError(f"cannot be written as {extension}")
    return data.tobytes()


def _npz(still: Still) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer, inverse_depth=still.inverse_depth, network_output=still.network_output, **asdict(still.provenance)
    )
    return buffer.getvalue()
