"""Stills of the newest frames: made in a thread of their own, so that no stream waits for one."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import Future
from typing import NamedTuple
from weakref import WeakValueDictionary

import cv2

from streamd.concurrency.threads import SerialExecutor
from streamd.config.sections import PictureFormat, StreamConfig, View
from streamd.depth.calibration import Calibration
from streamd.errors import PictureError, StreamdError
from streamd.media.frames import NormalisedFrame, Scaler
from streamd.render.edges import drawn
from streamd.render.pictures import Still, encode_depth, encode_view
from streamd.streams.stream import Stream

log = logging.getLogger(__name__)

MAX_STILLS, MAX_STILLS_PER_STREAM = 32, 8
"""That wait or are being made."""
CLOSE_S = 1.0
NICENESS = 5
"""Video and its network come first where there is too little processor."""


class StillRequest(NamedTuple):
    """Equal requests share a still."""

    stream: Stream
    view: View
    format: PictureFormat


class _Job:
    """Makes one still for all who asked for the same before it began."""

    def __init__(self, request: StillRequest, fallback: NormalisedFrame, scaler: Scaler) -> None:
        """``fallback`` is used when the stream has stopped meanwhile."""
        self.future: Future[memoryview] = Future()
        self._request = request
        self._fallback = fallback
        self._scaler = scaler
        self._frame: NormalisedFrame | None = None

    def serves(self, newest: NormalisedFrame) -> bool:
        """Whether its still is, or will be, of this frame or a later one."""
        return self._frame is None or self._frame is newest

    def __call__(self) -> memoryview:
        stream, view, format = self._request
        self._frame = stream.newest or self._fallback
        try:
            calibrated = stream.calibrated
            calibration = calibrated.of(self._frame.frame) if calibrated else None
            return make_still(self._frame, view, format, stream.config, self._scaler, calibration)
        except StreamdError as error:
            raise error.with_traceback(None) from None  # it would hold the pixels for as long as somebody holds it
        except Exception as error:
            log.exception("stream %s: still", stream.name)
            raise PictureError(f"cannot be made: {error}") from None


class Stills:
    """Lives on the event loop. Streams take turns, and each has room for a few stills only."""

    def __init__(self) -> None:
        self._executor = SerialExecutor(
            "stills", MAX_STILLS, max_per_owner=MAX_STILLS_PER_STREAM, niceness=NICENESS, calls="pictures"
        )
        self._scaler = Scaler()
        """Used in the executor's thread only."""
        self._jobs: WeakValueDictionary[StillRequest, _Job] = WeakValueDictionary()
        """Gone with the last who waits."""

    async def make(self, stream: Stream, view: View, format: PictureFormat) -> memoryview:
        """The bytes of a file: the newest frame in the camera's full size. A stream on demand wakes for it.
        Raises Busy, and PictureError when there is no frame or the format cannot hold it."""
        with stream.keep_awake():
            job = self._job(StillRequest(stream, view, format), await stream.frame())
            return await asyncio.shield(asyncio.wrap_future(job.future))

    def _job(self, request: StillRequest, newest: NormalisedFrame) -> _Job:
        job = self._jobs.get(request)
        if job is None or not job.serves(newest):
            job = _Job(request, newest, self._scaler)
            job.future = self._executor.submit(job, owner=request.stream)
            self._jobs[request] = job
        return job

    def close(self) -> None:
        """Cancels what waits. Blocks for ``CLOSE_S`` at most."""
        self._executor.close(CLOSE_S)


def make_still(
    frame: NormalisedFrame,
    view: View,
    format: PictureFormat,
    config: StreamConfig,
    scaler: Scaler,
    calibration: Calibration | None = None,
) -> memoryview:
    """Raises PictureError. ``scaler`` is that of the thread."""
    depth_frame = frame.frame
    rgb = scaler.rgb(depth_frame.picture)
    size = (rgb.shape[1], rgb.shape[0])
    if format in ("jpg", "png"):
        normalised = cv2.resize(drawn(frame.normalised, config.edges), size, interpolation=cv2.INTER_LINEAR)
        return encode_view(view, format, normalised, rgb, config.overlay_alpha)
    depth = cv2.resize(depth_frame.inverse_depth, size, interpolation=cv2.INTER_CUBIC)
    metres = calibration.metres(depth) if calibration is not None and format in ("npz", "ply") else None
    camera = config.horizontal_fov_degrees, config.intrinsics
    still = Still(rgb, depth, depth_frame.network_output, depth_frame.provenance, *camera, metres)
    return encode_depth(format, still)
