"""What the API may not set is never opened for a stream of its own, however the stream came to have it."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from streamd.config.sections import StreamConfig
from streamd.errors import SourceRejected, SourceUnsupported
from streamd.sources import MediaDirectories, open_source
from streamd.sources.file import DemoSource, FileSource
from streamd.sources.refused import RefusedSource
from streamd.states import Origin

MEDIA = MediaDirectories([Path("/media")])


@pytest.mark.parametrize(
    "source",
    ["/etc/x.mp4", "file:a.mp4", "lavfi:movie=/x", "lavfi:testsrc2,trim=start=1000000000", "rtsp://u:env:NAME@h/"],
)
def test_of_the_api_it_is_refused_with_the_reason(source: str) -> None:
    config = StreamConfig(source=source)
    refused = open_source(config, threading.Event(), 1, MEDIA, Origin.API)
    assert refused.live, "else it would end for good, though the settings may change"
    with pytest.raises(SourceRejected, match="the API may not set"):
        next(refused.frames())
    assert not isinstance(open_source(config, threading.Event(), 1, MEDIA), RefusedSource), "of the file"


def test_what_is_permitted_is_opened() -> None:
    for source, kind in (("/media/a.mp4", FileSource), ("demo:", DemoSource)):
        assert type(open_source(StreamConfig(source=source), threading.Event(), 1, MEDIA, Origin.API)) is kind


def test_what_ffmpeg_lacks_is_not_tried_again() -> None:
    lacking = open_source(StreamConfig(source="srt://h:9000"), threading.Event())
    assert not lacking.live, "a live one would be tried for ever"
    with pytest.raises(SourceUnsupported, match="PyAV's FFmpeg has no SRT: let the camera send RTSP"):
        next(lacking.frames())
