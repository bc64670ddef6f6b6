"""What a client of the API may set as a source."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamd.config.sections import StreamConfig
from streamd.sources.media_directories import MediaDirectories
from streamd.sources.permitted import problems

MEDIA = MediaDirectories([Path("/media"), Path("/srv/clips")])


def reasons(source: str, current: str | None = None) -> list[str]:
    before = StreamConfig(source=current) if current else None
    return [str(problem) for problem in problems("cam", StreamConfig(source=source), before, MEDIA)]


@pytest.mark.parametrize(
    "source",
    [
        "demo:",
        "rtsp://user:password@192.0.2.1/live",
        "https://h/list.m3u8?token=x",
        "rtmp://h/app/name",
        "udp://@239.1.1.1:5000",
        "/dev/video0",
        "v4l2:/dev/v4l/by-id/usb-HD_Camera-video-index0",
        "/media/a.mp4",
        "/srv/clips/deep/a b@c.mp4",
        "file:/media/a.mp4",
        "lavfi:testsrc2=size=1280x720:rate=30",
        "lavfi:testsrc2=1280x720:30",
        "lavfi:color=red:s=hd720, hflip ,fps=10",
        "lavfi:color=0xff0000:64x64",
        "lavfi:smptebars[a];[a]hue=s=0[out0]",
        "lavfi:life=s=64x64:mold=10:ratio=0.1",
    ],
)
def test_cameras_patterns_and_media_are_permitted(source: str) -> None:
    assert reasons(source) == []


@pytest.mark.parametrize(
    "source",
    [
        "rtsp://user:env:NAME@h/",
        "rtsp://user:file:secret_door@h/",
        "http://file:/etc/streamd/secrets/door@h/",
        "http://env:LOGIN@h/",
        "rtsp://user:file:/run/x@h/a@b",
    ],
)
def test_secrets_of_the_service_are_not_sent_where_a_client_says(source: str) -> None:
    reason = "the API may not set env: or file: references; the configuration file may"
    assert reasons(source) == [f"streams.cam.source: {reason}"]
    assert reasons(source, "rtsp://user:file:secret_door@camera/") == [f"streams.cam.source: {reason}"], "another host"


@pytest.mark.parametrize(
    "source",
    ["rtsp://u:env:NAME@h/", "/etc/x.mp4", "lavfi:movie=/x", "v4l2:/tmp/x", "udp://h:1?fifo_size=9"],
)
def test_a_source_that_stays_may_stay(source: str) -> None:
    assert reasons(source, source) == []


@pytest.mark.parametrize(
    "source",
    [
        "/etc/passwd",
        "/mediaX/a.mp4",
        "/media/../etc/passwd",
        "/media/x/../../etc/passwd",
        "//media/a.mp4",
        "a.mp4",
        "media/a.mp4",
        "file:a.mp4",
        "file:///etc/passwd",
        "/proc/self/fd/3",
        "/proc/self/root/media/a.mp4",
        "concat:/media/a.ts|/etc/b",
        "subfile,,start,0,end,9,,:/etc/passwd",
        "pipe:0",
        "fd:",
        "/dev/fd/3",
        "/dev/stdin",
        "data:text/plain,x",
        "crypto:/media/a",
        "cache:/etc/x",
        "async:file:/etc/x",
        "tee:/media/a",
        " /media/a.mp4",
        "~/a.mp4",
    ],
)
def test_other_files_are_not(source: str) -> None:
    assert reasons(source) == [
        "streams.cam.source: the API may not set a file that is not in server.media_directories; "
        "the configuration file may"
    ]


def test_without_directories_no_file_is() -> None:
    assert problems("cam", StreamConfig(source="/media/a.mp4"), None)


@pytest.mark.parametrize(
    "source",
    [
        "/dev/sda",
        "/dev/ttyUSB0",
        "/dev/video0/../sda",
        "/dev/video",
        "v4l2:/etc/passwd",
        "v4l2:video0",
        "v4l2:/dev/v4l/by-id/../../sda",
        "v4l2:/dev/v4l/by-id/..",
        "V4L2:/dev/sda",
        "/dev/v4l/by-path/",
    ],
)
def test_devices_that_are_no_cameras_are_not(source: str) -> None:
    (line,) = reasons(source)
    assert "the API may not set a device that is no camera" in line


@pytest.mark.parametrize("source", ["udp://h:5000?fifo_size=300000", "srt://h:1?passphrase=x"])
def test_options_of_protocols_are_not(source: str) -> None:
    assert reasons(source) == [
        f"streams.cam.source: the API may not set options of {source[:3]}://; the configuration file may"
    ]


def test_where_a_stream_is_sent_to_is_not() -> None:
    pushed = StreamConfig(source="demo:", push=("rtsp://h/cam",))
    assert [problem.path for problem in problems("cam", pushed, None)] == ["streams.cam.push"]
    assert [problem.path for problem in problems("cam", StreamConfig(source="demo:"), pushed)] == ["streams.cam.push"]
    assert problems("cam", pushed.model_copy(update={"source": "rtsp://h/live"}), pushed) == []
