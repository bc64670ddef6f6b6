"""Depth live in Foxglove by its WebSocket protocol, and the same messages as MCAP files.

Needs the extra ``foxglove`` (foxglove-sdk). What nobody reads is not made.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from streamd.config.robots import FoxgloveConfig
from streamd.errors import ConfigError, Problem
from streamd.robots import topics
from streamd.robots.mcap_file import MCAP, McapFile, make_room
from streamd.robots.sample import POINT, Sample

MISSING = 'needs foxglove-sdk: pip install "streamd[foxglove]"'
BACKLOG = 16
"""Messages that wait for a client; the oldest go."""
PARTS = 8
"""A file ends at this part of ``mcap_max_gb`` at the latest: one camera fills 10 GB in half an hour."""
RETRY_S = 10.0
"""After a file could not be written."""


class Foxglove:
    """For one thread, but for the constructor."""

    def __init__(self, config: FoxgloveConfig) -> None:
        """Raises ConfigError."""
        self._config = config
        self._sdk = _sdk()
        self._context = self._sdk.Context()
        self._channels: dict[str, dict[str, Any]] = {}
        self._writer: Any = None
        self._file: McapFile | None = None
        """Under the writer."""
        self._written_since = 0.0
        self._again_at = 0.0
        """After a failure, by time.monotonic()."""
        self._server: Any = None
        if config.listen:
            host, port = config.address
            try:
                self._server = self._sdk.start_server(
                    name="streamd", host=host, port=port, context=self._context, message_backlog_size=BACKLOG
                )
            except Exception as error:
                raise ConfigError(
                    [Problem("foxglove.listen", config.listen, f"cannot be listened on: {error}")]
                ) from None

    @property
    def port(self) -> int | None:
        """Of the server."""
        return self._server.port if self._server is not None else None

    def publish(self, stream: str, sample: Sample) -> None:
        """Raises OSError when the MCAP file cannot be written."""
        self._turn_over()
        channels = self._channels.get(stream)
        if channels is None:
            channels = self._channels[stream] = self._make(stream)
        for topic, make in self._makers(stream, sample).items():
            channel = channels[topic]
            if channel.has_sinks() and (message := make()) is not None:
                channel.log(message, log_time=sample.stamp_ns)

    def remove(self, stream: str) -> None:
        for channel in self._channels.pop(stream, {}).values():
            channel.close()

    def close(self) -> None:
        """Raises OSError when not all could be written."""
        try:
            for stream in tuple(self._channels):
                self.remove(stream)
            self._end_file()
        finally:
            if self._server is not None:
                self._server.stop()

    def _make(self, stream: str) -> dict[str, Any]:
        from foxglove import channels

        kinds = {
            topics.INVERSE_DEPTH: channels.RawImageChannel,
            topics.DEPTH: channels.RawImageChannel,
            topics.COLOUR: channels.RawImageChannel,
            topics.CAMERA: channels.CameraCalibrationChannel,
            topics.POINTS: channels.PointCloudChannel,
        }
        return {topic: kind(f"/{topics.slug(stream)}/{topic}", context=self._context) for topic, kind in kinds.items()}

    def _makers(self, stream: str, sample: Sample) -> dict[str, Callable[[], Any]]:
        """None: there are no metres."""
        from foxglove.messages import Timestamp

        stamp, frame = Timestamp(*divmod(sample.stamp_ns, 1_000_000_000)), topics.optical_frame(stream)
        return {
            topics.INVERSE_DEPTH: lambda: _image(stamp, frame, "32FC1", sample.inverse_depth),
            topics.DEPTH: lambda: None if sample.metres is None else _image(stamp, frame, "32FC1", sample.metres),
            topics.COLOUR: lambda: _image(stamp, frame, "rgb8", sample.rgb),
            topics.CAMERA: lambda: _camera(stamp, frame, sample),
            topics.POINTS: lambda: _cloud(stamp, frame, sample),
        }

    # -- files --------------------------------------------------------------------------------------

    def _turn_over(self) -> None:
        """Begins a file where one is wanted, and the next when it is long or large enough. Raises OSError."""
        folder, most_gb, now = self._config.mcap, self._config.mcap_max_gb, time.monotonic()
        if folder is None or now < self._again_at:
            return
        if self._writer is not None and self._file is not None and self._file.failure is None:
            is_long = now - self._written_since >= 60 * self._config.mcap_minutes
            if not is_long and self._file.size < most_gb * 1e9 / PARTS:
                return
        self._again_at = now + RETRY_S
        self._end_file()
        folder.mkdir(parents=True, exist_ok=True)
        make_room(folder, most_gb * (1 - 1 / PARTS))
        milliseconds = time.time_ns() // 1_000_000 % 1000
        name = f"streamd-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{milliseconds:03}{MCAP}"
        self._file = McapFile(folder / name)
        self._writer = self._sdk.open_mcap(self._file, context=self._context)
        self._written_since, self._again_at = now, 0.0

    def _end_file(self) -> None:
        """Raises OSError when not all could be written."""
        file, writer = self._file, self._writer
        self._file = self._writer = None
        if writer is not None:
            with suppress(RuntimeError):  # after a failure, of which the file knows
                writer.close()
        if file is not None:
            file.close()
            if file.failure is not None:
                raise file.failure


def _image(stamp: Any, frame: str, encoding: str, pixels: np.ndarray[Any, Any]) -> Any:
    from foxglove.messages import RawImage

    height, width = pixels.shape[:2]
    data = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<"))
    return RawImage(
        timestamp=stamp,
        frame_id=frame,
        width=width,
        height=height,
        encoding=encoding,
        step=data.strides[0],
        data=data.tobytes(),
    )


def _camera(stamp: Any, frame: str, sample: Sample) -> Any:
    from foxglove.messages import CameraCalibration

    width, height = sample.size
    return CameraCalibration(
        timestamp=stamp,
        frame_id=frame,
        width=width,
        height=height,
        K=sample.intrinsic,
        P=sample.projection,
    )


def _cloud(stamp: Any, frame: str, sample: Sample) -> Any:
    from foxglove.messages import (
        PackedElementField,
        PackedElementFieldNumericType,
        PointCloud,
        Pose,
        Quaternion,
        Vector3,
    )

    points = sample.cloud()
    if points is None:
        return None
    coordinate, colour = PackedElementFieldNumericType.Float32, PackedElementFieldNumericType.Uint8
    at = POINT.fields["rgb"][1]  # type: ignore[index]
    fields = [PackedElementField(name=name, offset=4 * n, type=coordinate) for n, name in enumerate("xyz")]
    # 0x00RRGGBB, little-endian.
    fields += [
        PackedElementField(name=name, offset=at + n, type=colour) for n, name in enumerate(("blue", "green", "red"))
    ]
    return PointCloud(
        timestamp=stamp,
        frame_id=frame,
        pose=Pose(position=Vector3(x=0, y=0, z=0), orientation=Quaternion(x=0, y=0, z=0, w=1)),
        point_stride=POINT.itemsize,
        fields=fields,
        data=points.tobytes(),
    )


def _sdk() -> Any:
    """Raises ConfigError."""
    try:
        import foxglove
    except ImportError:
        raise ConfigError([Problem("foxglove.listen", "", MISSING)]) from None
    return foxglove
