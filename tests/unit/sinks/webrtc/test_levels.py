from __future__ import annotations

import pytest

from streamd.sinks.webrtc.levels import h264_level, with_level


@pytest.mark.parametrize(
    ("size", "level"),
    [
        ((320, 180), 31),
        ((1280, 720), 31),
        ((1920, 1080), 40),
        ((2560, 720), 40),
        ((2560, 1440), 50),
        ((7680, 4320), 52),
    ],
)
def test_levels(size: tuple[int, int], level: int) -> None:
    assert h264_level(*size) == level
    answer = "a=fmtp:99 packetization-mode=1;profile-level-id=42e01f;x=1"
    assert f"profile-level-id=42e0{level:02x};x=1" in with_level(answer, size)
    assert with_level(answer, None) == answer
