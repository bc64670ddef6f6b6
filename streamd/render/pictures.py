"""Stills: read from any picture file, written as colour, 16-bit depth, arrays or a point cloud."""

from __future__ import annotations

import io
from dataclasses import asdict, dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from streamd.config import PictureFormat, View
from streamd.errors import PictureError
from streamd.media import ByteImage, FloatImage, Origin
from streamd.render.pointcloud import ply
from streamd.render.views import still_view

CONTENT_TYPES: dict[PictureFormat, str] = {
    "jpg": "image/jpeg",
    "png": "image/png",
    "png16": "image/png",
    "npz": "application/octet-stream",
    "ply": "application/octet-stream",
}


@dataclass(frozen=True)
class Still:
    """One picture and its depth, all of one size."""

    rgb: ByteImage
    """(h, w, 3)."""
    inverse_depth: FloatImage
    """(h, w), larger is nearer."""
    share: FloatImage
    """(h, w) in [0, 1]: inverse depth within the range shown."""
    network_output: FloatImage
    """Exactly as the network gave it: own size, own polarity."""
    origin: Origin
    horizontal_fov_degrees: float = 60.0


def read_picture(data: bytes) -> ByteImage:
    """A JPEG, PNG, WebP, BMP or TIFF file to (h, w, 3) RGB, upright as its EXIF says. Raises PictureError."""
    try:
        bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    except cv2.error:
        raise PictureError("is a picture of more than 64 million pixels") from None
    if bgr is None:
        raise PictureError("is not a picture that can be read")
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB))


def share_of(inverse_depth: FloatImage) -> FloatImage:
    """A still by itself: its own minimum and maximum become 0 and 1."""
    low, high = float(inverse_depth.min()), float(inverse_depth.max())
    return (inverse_depth - np.float32(low)) / np.float32(max(high - low, 1e-12))


def encode_still(still: Still, view: View, format: PictureFormat) -> bytes:
    """The bytes of a file. Raises PictureError when the format cannot hold what is asked for."""
    if format in ("jpg", "png"):
        rgb = still_view(view, still.share, still.rgb)
        return _encode(".jpg" if format == "jpg" else ".png", np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR)))
    if format == "png16":
        return _encode(".png", np.rint(share_of(still.inverse_depth) * 65535).astype(np.uint16))
    if format == "ply":
        return ply(still.inverse_depth, still.rgb, still.horizontal_fov_degrees)
    return _npz(still)


def _encode(extension: str, pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> bytes:
    options = [cv2.IMWRITE_JPEG_QUALITY, 92] if extension == ".jpg" else [cv2.IMWRITE_PNG_COMPRESSION, 3]
    done, data = cv2.imencode(extension, pixels, options)
    if not done:
        raise PictureError(f"cannot be written as {extension}")
    return data.tobytes()


def _npz(still: Still) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer, inverse_depth=still.inverse_depth, network_output=still.network_output, **asdict(still.origin)
    )
    return buffer.getvalue()
