"""What topics are called, and the frame that their pictures are in."""

from __future__ import annotations

import hashlib
import re

INVERSE_DEPTH = "inverse_depth/image_raw"
DEPTH = "depth/image_raw"
COLOUR = "color/image_raw"
CAMERA = "camera_info"
POINTS = "points"


def slug(stream: str) -> str:
    """A name that ROS takes. One that is changed gets a few digits of a digest, so that no two become one."""
    name = re.sub(r"[^A-Za-z0-9_]", "_", stream)
    name = name if name[0].isalpha() else f"stream_{name}"
    return name if name == stream else f"{name}_{hashlib.sha256(stream.encode()).hexdigest()[:4]}"


def optical_frame(stream: str) -> str:
    """x right, y down, z forward (REP 103)."""
    return f"{slug(stream)}_optical_frame"
