"""The level that an answer names for H.264."""

from __future__ import annotations

import math
import re

# (level_idc, macroblocks a second, macroblocks a picture): ITU-T H.264, table A-1, from level 3.1 up.
_LEVELS = (
    (31, 108_000, 3_600),
    (32, 216_000, 5_120),
    (40, 245_760, 8_192),
    (42, 522_240, 8_704),
    (50, 589_824, 22_080),
    (51, 983_040, 36_864),
)
_FPS = 30


def h264_level(width: int, height: int) -> int:
    """level_idc for a picture of this size at 30 fps: 31 up to 1280x720, 40 for 1920x1080."""
    blocks = math.ceil(width / 16) * math.ceil(height / 16)
    return next(
        (level for level, max_rate, max_blocks in _LEVELS if blocks <= max_blocks and blocks * _FPS <= max_rate), 52
    )


def with_level(answer_sdp: str, size: tuple[int, int] | None) -> str:
    """The answer with the level of what is sent (RFC 6184 8.1; an answer may raise it where both allow asymmetry).

    Unchanged while the size is not known: 3.1 then, which aiortc names.
    """
    if size is None:
        return answer_sdp
    level = f"{h264_level(*size):02x}"
    return re.sub(r"(profile-level-id=[0-9a-fA-F]{4})[0-9a-fA-F]{2}", rf"\g<1>{level}", answer_sdp)
