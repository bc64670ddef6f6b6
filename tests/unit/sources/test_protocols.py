"""What this FFmpeg lacks is known before anything is opened."""

from __future__ import annotations

import pytest

from streamd.sources import protocols
from streamd.sources.protocols import lacking


def test_what_it_has() -> None:
    assert {"udp", "rtmp", "tcp"} <= protocols.protocols()


@pytest.mark.parametrize(
    "source", ["udp://:5000", "rtmp://h/a", "rtsp://h/", "http://h/", "/dev/video0", "a.mp4", "demo:"]
)
def test_nothing_is_lacking(source: str) -> None:
    assert lacking(source) is None


@pytest.mark.parametrize(("source", "name"), [("srt://h:1", "SRT"), ("SRT://h:1", "SRT"), ("rtmp://h/", "RTMP")])
def test_what_is_lacking_is_named(source: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocols, "protocols", frozenset)
    assert lacking(source) == f"PyAV's FFmpeg has no {name}: let the camera send RTSP, or a relay between"
