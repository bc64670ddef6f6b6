"""Depth in a ROS 2 domain by DDS, without ROS: `ros2 topic list` shows it, RViz and depth_image_proc take it.

Needs the extra ``ros2`` (cyclonedds). What nobody reads is not written.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from types import ModuleType
from typing import Any

import numpy as np

from streamd.config.robots import Ros2Config
from streamd.errors import ConfigError, Problem
from streamd.robots import topics
from streamd.robots.sample import POINT, Sample

MISSING = 'needs cyclonedds: pip install "streamd[ros2]"'
FLOAT32, UINT32 = 7, 6
"""Of sensor_msgs/PointField."""


class Ros2:
    """For one thread, but for the constructor."""

    def __init__(self, config: Ros2Config) -> None:
        """Raises ConfigError."""
        self._config = config
        self._messages = _messages()
        try:
            from cyclonedds.core import DDSException
            from cyclonedds.domain import DomainParticipant

            self._gone: type[Exception] = DDSException
            self._participant = DomainParticipant(config.domain)
        except Exception as error:
            raise ConfigError([Problem("ros2.domain", str(config.domain), f"cannot be joined: {error}")]) from None
        self._writers: dict[str, dict[str, Any]] = {}

    def publish(self, stream: str, sample: Sample) -> None:
        writers = self._writers.get(stream)
        if writers is None:
            writers = self._writers[stream] = self._make(stream)
        for topic, make in self._makers(stream, sample).items():
            writer = writers[topic]
            with suppress(self._gone):  # a reader that has just left
                if writer.get_matched_subscriptions() and (message := make()) is not None:
                    writer.write(message)

    def remove(self, stream: str) -> None:
        self._writers.pop(stream, None)

    def close(self) -> None:
        self._writers.clear()
        del self._participant

    def _make(self, stream: str) -> dict[str, Any]:
        from cyclonedds.pub import DataWriter
        from cyclonedds.qos import Policy, Qos
        from cyclonedds.topic import Topic

        # Readers that want best effort and readers that want all get it; none of them ever holds us up, for only the
        # newest is kept. ROS speaks XCDR1.
        qos = Qos(
            Policy.Reliability.Reliable(0),
            Policy.History.KeepLast(1),
            Policy.DataRepresentation(use_cdrv0_representation=True, use_xcdrv2_representation=False),
        )
        types = {
            topics.INVERSE_DEPTH: self._messages.Image,
            topics.DEPTH: self._messages.Image,
            topics.COLOUR: self._messages.Image,
            topics.CAMERA: self._messages.CameraInfo,
            topics.POINTS: self._messages.PointCloud2,
        }
        prefix = f"rt/{self._config.namespace}/{topics.slug(stream)}"
        return {
            topic: DataWriter(self._participant, Topic(self._participant, f"{prefix}/{topic}", kind, qos=qos), qos=qos)
            for topic, kind in types.items()
        }

    def _makers(self, stream: str, sample: Sample) -> dict[str, Callable[[], Any]]:
        header = self._header(stream, sample)
        return {
            topics.INVERSE_DEPTH: lambda: self._image(header, "32FC1", sample.inverse_depth),
            topics.DEPTH: lambda: None if sample.metres is None else self._image(header, "32FC1", sample.metres),
            topics.COLOUR: lambda: self._image(header, "rgb8", sample.rgb),
            topics.CAMERA: lambda: self._camera(header, sample),
            topics.POINTS: lambda: self._cloud(header, sample),
        }

    def _header(self, stream: str, sample: Sample) -> Any:
        seconds, nanoseconds = divmod(sample.stamp_ns, 1_000_000_000)
        return self._messages.Header(self._messages.Time(seconds, nanoseconds), topics.optical_frame(stream))

    def _image(self, header: Any, encoding: str, pixels: np.ndarray[Any, Any]) -> Any:
        height, width = pixels.shape[:2]
        data = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<"))
        return self._messages.Image(header, height, width, encoding, 0, data.strides[0], data.tobytes())

    def _camera(self, header: Any, sample: Sample) -> Any:
        (width, height), k, p = sample.size, sample.intrinsic, sample.projection
        r = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
        whole = self._messages.RegionOfInterest(0, 0, 0, 0, False)
        return self._messages.CameraInfo(header, height, width, "plumb_bob", [0.0] * 5, k, r, p, 0, 0, whole)

    def _cloud(self, header: Any, sample: Sample) -> Any:
        points = sample.cloud()
        if points is None:
            return None
        kinds = {"x": FLOAT32, "y": FLOAT32, "z": FLOAT32, "rgb": UINT32}
        fields = [
            self._messages.PointField(name, POINT.fields[name][1], kind, 1)  # type: ignore[index]
            for name, kind in kinds.items()
        ]
        step, count = POINT.itemsize, len(points)
        return self._messages.PointCloud2(header, 1, count, fields, False, step, step * count, points.tobytes(), True)


def _messages() -> ModuleType:
    """Raises ConfigError."""
    try:
        from streamd.robots import ros2_messages
    except ImportError:
        raise ConfigError([Problem("ros2.enabled", "true", MISSING)]) from None
    return ros2_messages
