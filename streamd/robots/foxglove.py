"""Depth live in Foxglove by its WebSocket protocol, and the same messages as MCAP files.

Needs the extra ``foxglove`` (foxglove-sdk).
"""

from __future__ import annotations

import math
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from streamd.config.robots import FoxgloveConfig
from streamd.errors import ConfigError, Problem
from streamd.robots import topics
from streamd.robots.sample import POINT, Sample

MISSING = 'needs foxglove-sdk: pip install "streamd[foxglove]"'
BACKLOG = 16
"""Messages that wait for a client; the oldest go."""
MCAP = ".mcap"
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
        from foxglove.messages import CameraCalibration, Timestamp

        seconds, nanoseconds = divmod(sample.stamp_ns, 1_000_000_000)
        stamp, frame = Timestamp(seconds, nanoseconds), topics.optical_frame(stream)
        (width, height), lens = sample.size, sample.camera
        sent = {
            topics.INVERSE_DEPTH: _image(stamp, frame, "32FC1", sample.inverse_depth),
            topics.COLOUR: _image(stamp, frame, "rgb8", sample.rgb),
            topics.CAMERA: CameraCalibration(
                timestamp=stamp,
                frame_id=frame,
                width=width,
                height=height,
                K=[lens.fx, 0, lens.cx, 0, lens.fy, lens.cy, 0, 0, 1],
                P=[lens.fx, 0, lens.cx, 0, 0, lens.fy, lens.cy, 0, 0, 0, 1, 0],
            ),
        }
        if sample.metres is not None:
            sent[topics.DEPTH] = _image(stamp, frame, "32FC1", sample.metres)
            sent[topics.POINTS] = _cloud(stamp, frame, sample)
        for topic, message in sent.items():
            channels[topic].log(message, log_time=sample.stamp_ns)

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
        _make_room(folder, most_gb * (1 - 1 / PARTS))
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


class McapFile:
    """What the writer needs of one. It remembers the first failure, of which the writer tells the log alone."""

    def __init__(self, path: Path) -> None:
        """Raises OSError."""
        self.failure: OSError | None = None
        self._path = path
        self._file = path.open("xb", buffering=0)

    @property
    def size(self) -> float:
        """Bytes; endless when somebody has deleted it."""
        state = os.fstat(self._file.fileno())
        return state.st_size if state.st_nlink else math.inf

    def write(self, data: bytes) -> int:
        try:
            return self._file.write(data) or 0
        except OSError as error:
            self.failure = self.failure or error
            raise

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def flush(self) -> None: ...

    def close(self) -> None:
        """Leaves no empty file."""
        with self._file:
            if self.size == 0:
                self._path.unlink()


def _make_room(folder: Path, max_gb: float) -> None:
    """The oldest files go, by their names, which begin with their times. Raises OSError."""
    files = sorted(folder.glob(f"streamd-*{MCAP}"))
    held = sum(file.stat().st_size for file in files)
    for file in files:
        if held <= max_gb * 1e9:
            return
        held -= file.stat().st_size
        file.unlink()


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
    assert points is not None
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
