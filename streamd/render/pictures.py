"""Stills, written as colour, 16-bit depth, arrays or a point cloud."""

from __future__ import annotations

import io
import zipfile
from dataclasses import asdict, dataclass
from typing import IO, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from streamd.config.sections import Intrinsics, PictureFormat, View
from streamd.errors import PictureError
from streamd.media.frames import ByteImage, FloatImage, Provenance
from streamd.render.pointcloud import pinhole, ply
from streamd.render.views import draw_still

CONTENT_TYPES: dict[PictureFormat, str] = {
    "jpg": "image/jpeg",
    "png": "image/png",
    "png16": "image/png",
    "npz": "application/octet-stream",
    "ply": "application/octet-stream",
}


MAX_POINTS = 9 * 1024 * 1024
"""Of a point cloud, which takes five times a picture's memory: a picture of 3840x2160 has one."""
_NPZ_COMPRESSION = 1  # 6 makes floats 2 % smaller in twice the time (measured)
_NPZ_CHUNK = 1 << 18
"""Values that are compressed at a time."""


@dataclass(frozen=True)
class Still:
    """One picture and its depth, both of one size."""

    rgb: ByteImage
    """(h, w, 3)."""
    inverse_depth: FloatImage
    """(h, w), larger is nearer."""
    network_output: FloatImage
    """Exactly as the network gave it: own size, own polarity."""
    provenance: Provenance
    horizontal_fov_degrees: float = 60.0
    intrinsics: Intrinsics | None = None
    metres: FloatImage | None = None
    """(h, w), with a calibration: infinite where it says so."""


def normalise(inverse_depth: FloatImage, out: FloatImage | None = None) -> FloatImage:
    """A still by itself: its own minimum and maximum become 0 and 1. In ``out``, which may be the same."""
    low, high = float(inverse_depth.min()), float(inverse_depth.max())
    normalised = np.subtract(inverse_depth, np.float32(low), out=out)
    normalised /= np.float32(max(high - low, 1e-12))
    return normalised


def encode_view(
    view: View, format: PictureFormat, normalised: FloatImage, rgb: ByteImage, overlay_alpha: float = 0.5
) -> memoryview:
    """The bytes of a jpg or png: (h, w) in [0, 1] and (h, w, 3) of one size."""
    return _encode(f".{format}", draw_still(view, normalised, rgb, overlay_alpha))


def encode_depth(format: PictureFormat, still: Still) -> memoryview:
    """The bytes of a png16, npz or ply. Raises PictureError when the format cannot hold so much."""
    if format == "png16":
        codes = normalise(still.inverse_depth)
        codes *= np.float32(65535)
        return _encode(".png", np.rint(codes, out=codes).astype(np.uint16))
    if format == "npz":
        return _npz(still)
    if still.inverse_depth.size > MAX_POINTS:
        raise PictureError(f"has more pixels than the {MAX_POINTS / 1e6:.0f} million points that a ply may have")
    height, width = still.inverse_depth.shape
    camera = pinhole(height, width, still.horizontal_fov_degrees, still.intrinsics)
    return ply(still.inverse_depth, still.rgb, camera, still.metres)


def _encode(extension: str, pixels: NDArray[np.uint8] | NDArray[np.uint16]) -> memoryview:
    options = [cv2.IMWRITE_JPEG_QUALITY, 92] if extension == ".jpg" else [cv2.IMWRITE_PNG_COMPRESSION, 3]
    done, data = cv2.imencode(extension, pixels, options)
    if not done:
        raise PictureError(f"cannot be written as {extension}")
    return data.data  # no copy: it would hold the interpreter lock for 30 ms of a large picture


def _npz(still: Still) -> memoryview:
    """As ``np.savez_compressed``, which holds the interpreter lock while it copies 16 MB at a time."""
    arrays = {"inverse_depth": still.inverse_depth, "network_output": still.network_output}
    if still.metres is not None:
        arrays["metres"] = still.metres
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=_NPZ_COMPRESSION) as file:
        for name, value in (arrays | asdict(still.provenance)).items():
            with file.open(f"{name}.npy", "w", force_zip64=True) as entry:
                _write_npy(entry, np.asanyarray(value))
    return buffer.getbuffer()


def _write_npy(entry: IO[bytes], array: NDArray[Any]) -> None:
    if array.ndim == 0:
        np.lib.format.write_array(entry, array, allow_pickle=False)
        return
    np.lib.format.write_array_header_1_0(entry, np.lib.format.header_data_from_array_1_0(array))
    flat = np.ascontiguousarray(array).reshape(-1)
    for start in range(0, flat.size, _NPZ_CHUNK):
        entry.write(flat[start : start + _NPZ_CHUNK].data)
