"""A DDS reader in a process of its own: prints, as JSON, what it gets of each frame of a stream, until it is killed.

python -m tests.support.ros2_reader DOMAIN STREAM
"""

from __future__ import annotations

import base64
import json
import sys
import time
from typing import Any

from cyclonedds.domain import DomainParticipant
from cyclonedds.internal import InvalidSample
from cyclonedds.sub import DataReader
from cyclonedds.topic import Topic

from streamd.robots import ros2_messages as messages
from streamd.robots import topics

KINDS = {
    topics.INVERSE_DEPTH: messages.Image,
    topics.DEPTH: messages.Image,
    topics.COLOUR: messages.Image,
    topics.CAMERA: messages.CameraInfo,
    topics.POINTS: messages.PointCloud2,
}


def main() -> None:
    domain, stream = int(sys.argv[1]), sys.argv[2]
    participant = DomainParticipant(domain)
    prefix = f"rt/streamd/{topics.slug(stream)}"
    readers = {
        topic: DataReader(participant, Topic(participant, f"{prefix}/{topic}", kind)) for topic, kind in KINDS.items()
    }
    print("listening", flush=True)
    frames: dict[int, dict[str, Any]] = {}
    while True:
        for topic, reader in readers.items():
            for message in reader.take(16):
                if isinstance(message, InvalidSample):  # its writer has gone
                    continue
                read = as_json(message)
                frame = frames.setdefault(read["stamp_ns"], {})
                frame[topic] = read
                if len(frame) == len(KINDS):
                    print(json.dumps(frames.pop(read["stamp_ns"])), flush=True)
        time.sleep(0.01)


def as_json(message: Any) -> dict[str, Any]:
    fields = {name: value for name, value in vars(message).items() if isinstance(value, int | str | float)}
    if hasattr(message, "k"):
        return fields | {"k": list(message.k), "p": list(message.p)} | stamp(message)
    return fields | {"data": base64.b64encode(bytes(message.data)).decode()} | stamp(message)


def stamp(message: Any) -> dict[str, Any]:
    at = message.header.stamp
    return {"stamp_ns": at.sec * 1_000_000_000 + at.nanosec, "frame_id": message.header.frame_id}


if __name__ == "__main__":
    main()
