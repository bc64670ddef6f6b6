"""One picture in, its depth out: `streamd depth` and ``POST /api/v1/depth``."""

from __future__ import annotations

from streamd.config.sections import Edges, PictureFormat, View
from streamd.depth.enlarge import enlarge
from streamd.depth.estimator import ModelInfo, as_inverse_depth
from streamd.depth.preprocess import still_input
from streamd.depth.service import DepthService
from streamd.errors import InferenceFailed, PictureError, StreamdError
from streamd.media.frames import ByteImage, FloatImage
from streamd.render.edges import drawn
from streamd.render.picture_reader import read_picture
from streamd.render.pictures import Still, encode_depth, encode_view, normalise

READY_TIMEOUT_S = 60.0
TRIES = 2
"""The network may change, or its worker be lost, just now."""


def depth_of_picture(
    data: bytes | bytearray, service: DepthService, view: View, format: PictureFormat, edges: Edges = "crisp"
) -> memoryview:
    """The bytes of a picture file to those of a depth file. Blocks: not for the event loop.

    Preprocessing and enlarging are those of the network's reference. ``edges`` is for what is shown, jpg and png.
    Raises PictureError, DepthError.
    """
    try:
        return _depth_of_picture(data, service, view, format, edges)
    except StreamdError as error:
        # Its traceback holds the frames that it came through, and these the pixels: hundreds of megabytes, for as
        # long as somebody holds the error.
        raise error.with_traceback(None) from None


def _depth_of_picture(
    data: bytes | bytearray, service: DepthService, view: View, format: PictureFormat, edges: Edges
) -> memoryview:
    rgb = read_picture(data)
    height, width = rgb.shape[:2]
    if min(width, height) < 2:
        raise PictureError(f"is too small: {width}x{height}, and 2x2 is the least")
    with service.leased():
        info, output = _infer(rgb, service)
    depth, enlargement = as_inverse_depth(output, info.spec), info.spec.preprocessing.enlargement
    if format in ("jpg", "png"):
        depth = enlarge(drawn(normalise(depth), edges), width, height, enlargement)
        return encode_view(view, format, normalise(depth, out=depth), rgb)  # a large picture has no room for both
    depth = enlarge(depth, width, height, enlargement)
    return encode_depth(format, Still(rgb, depth, output, info.provenance))


def _infer(rgb: ByteImage, service: DepthService) -> tuple[ModelInfo, FloatImage]:
    for left in reversed(range(TRIES)):
        info = service.wait_ready(READY_TIMEOUT_S)
        try:
            return info, service.submit(
                info, still_input(rgb, info.spec.preprocessing), live=False, patient=True
            ).result()
        except InferenceFailed:
            if not left:
                raise
    raise AssertionError("unreachable")
