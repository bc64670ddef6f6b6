"""What becomes of FFmpeg's errors. Which class means what was measured on real cameras."""

from __future__ import annotations

import errno
import threading
import time

import av.error
import pytest

from streamd.config.sections import StreamConfig
from streamd.errors import (
    SourceError,
    SourceRejected,
    SourceStalled,
    SourceUnreachable,
    SourceUnsupported,
)
from streamd.sources import FileSource, open_source
from streamd.sources.base import OPEN_TIMEOUT_S, TransportRefused, source_error
from streamd.sources.file import DemoSource
from streamd.sources.http import HttpSource
from streamd.sources.lavfi import LavfiSource
from streamd.sources.network import PushedSource, RtspSource
from streamd.sources.refused import LackingSource
from streamd.sources.webcam import WebcamSource

NAME = "rtsp://***@h/live"


def native(kind: type[Exception], code: int, text: str) -> Exception:
    """As PyAV raises it."""
    return kind(code, text, NAME)


INVALID = native(av.error.InvalidDataError, 1094995529, "Invalid data found when processing input")
EXIT = native(av.error.ExitError, 1414092869, "Immediate exit requested")
REFUSED = native(av.error.ConnectionRefusedError, errno.ECONNREFUSED, "Connection refused")
DENIED = "access refused: check user, password and permissions"
NO_VIDEO = "is not a video that can be decoded"


@pytest.mark.parametrize("opening", [True, False])
@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [
        (REFUSED, SourceUnreachable, "connection refused"),
        (native(av.error.HTTPUnauthorizedError, 1, "Server returned 401 Unauthorized"), SourceRejected, DENIED),
        (native(av.error.HTTPForbiddenError, 1, "Server returned 403 Forbidden"), SourceRejected, DENIED),
        (native(av.error.PermissionError, errno.EACCES, "Permission denied"), SourceRejected, DENIED),
        (PermissionError(errno.EACCES, "Permission denied"), SourceRejected, DENIED),
        (
            native(av.error.HTTPServerError, 1, "Server returned 5XX Server Error reply"),
            SourceUnreachable,
            "server returned 5xx server error reply",
        ),
        (native(av.error.HTTPNotFoundError, 1, "Server returned 404 Not Found"), SourceUnreachable, "not found"),
        (native(av.error.FileNotFoundError, errno.ENOENT, "No such file or directory"), SourceUnreachable, "not found"),
        (
            native(av.error.IsADirectoryError, errno.EISDIR, "Is a directory"),
            SourceUnsupported,
            "is a directory, not a video",
        ),
        (native(av.error.OSError, errno.EBUSY, "Device busy"), SourceUnsupported, "is not a video that can be decoded"),
        (
            native(av.error.OSError, errno.ENODEV, "No such device"),
            SourceUnreachable,
            "no such device: is it plugged in?",
        ),
        (
            native(av.error.HTTPOtherClientError, 1, "Server returned 4XX Client Error"),
            SourceUnreachable,
            "the camera refuses: check the path, and how many may watch it at once",
        ),
        (
            native(av.error.ArgumentError, errno.EINVAL, "Invalid argument"),
            SourceUnsupported,
            "is not a video that can be decoded",
        ),
        (OSError(errno.EHOSTUNREACH, "No route to host"), SourceUnreachable, "no route to host"),
        (OSError("rtsp://u:hunter2@h/ is odd"), SourceUnreachable, "rtsp://***@h/ is odd"),
        (ValueError("rtsp://u:hunter2@h/ is odd\nvery"), SourceUnsupported, "rtsp://***@h/ is odd"),
    ],
)
def test_the_same_in_any_phase(error: Exception, kind: type[SourceError], reason: str, opening: bool) -> None:
    found = source_error(NAME, error, opening=opening, elapsed_s=1)
    assert (type(found), found.reason, found.source) == (kind, reason, NAME)


@pytest.mark.parametrize(
    ("error", "opening", "elapsed_s", "kind", "reason"),
    [
        (EXIT, True, 9.8, SourceUnreachable, "no answer within 10 s"),
        (EXIT, False, 300, SourceStalled, "went silent"),
        (
            native(av.error.TimeoutError, errno.ETIMEDOUT, "Timed out"),
            True,
            4.6,
            SourceUnreachable,
            "no answer within 5 s",
        ),
        (native(av.error.TimeoutError, errno.ETIMEDOUT, "Timed out"), False, 4.6, SourceStalled, "went silent"),
        (
            native(av.error.OSError, errno.EPROTONOSUPPORT, "Protocol not supported"),
            True,
            0.1,
            TransportRefused,
            "protocol not supported",
        ),
        (
            native(av.error.HTTPBadRequestError, 1, "Server returned 400 Bad Request"),
            True,
            0.1,
            TransportRefused,
            "server returned 400 bad request",
        ),
        (INVALID, True, 0.1, SourceUnsupported, NO_VIDEO),
        (INVALID, True, 9.9, SourceUnreachable, "no answer within 10 s"),
        (
            native(av.error.PermissionError, errno.EPERM, "Operation not permitted"),
            True,
            9.9,
            SourceUnreachable,
            "no answer within 10 s",
        ),
        (INVALID, False, 99, SourceUnsupported, NO_VIDEO),
    ],
)
def test_the_phase_counts_before_the_class(
    error: Exception, opening: bool, elapsed_s: float, kind: type[SourceError], reason: str
) -> None:
    """A camera that accepts and says nothing gives InvalidDataError at open."""
    found = source_error(NAME, error, opening=opening, elapsed_s=elapsed_s)
    assert (type(found), found.reason) == (kind, reason)


def test_every_error_of_ffmpeg_becomes_one_line() -> None:
    kinds = [
        kind for kind in vars(av.error).values() if isinstance(kind, type) and issubclass(kind, av.error.FFmpegError)
    ]
    assert len(kinds) > 30
    for kind in kinds:
        found = source_error(NAME, native(kind, 5, "It broke"), opening=True, elapsed_s=OPEN_TIMEOUT_S / 2)
        assert isinstance(found, SourceError)
        assert found.reason
        assert "\n" not in str(found)


@pytest.mark.parametrize(
    ("source", "kind", "live"),
    [
        ("rtsp://h/live", RtspSource, True),
        ("rtsps://h/live", RtspSource, True),
        ("http://h/video.mjpg", HttpSource, True),
        ("https://h/list.m3u8", HttpSource, True),
        ("RTSP://h/live", RtspSource, True),
        ("Https://h/live", HttpSource, True),
        ("rtmp://h/live", PushedSource, True),
        ("srt://h:9000", LackingSource, False),  # in this FFmpeg
        ("udp://@239.1.1.1:5000", PushedSource, True),
        ("C:clip.mp4", FileSource, False),
        ("yard: noon.mp4", FileSource, False),
        ("/dev/video0", WebcamSource, True),
        ("v4l2:/dev/v4l/by-id/usb", WebcamSource, True),
        ("demo:", DemoSource, False),
        ("lavfi:testsrc2", LavfiSource, False),
        ("clip.mp4", FileSource, False),
        ("/videos/rtsp.mp4", FileSource, False),
        ("file:a.mp4", FileSource, False),
    ],
)
def test_the_form_of_a_source_gives_its_kind(source: str, kind: type, live: bool) -> None:
    opened = open_source(StreamConfig(source=source), threading.Event())
    assert (type(opened), opened.live) == (kind, live)


def test_a_source_is_called_without_its_password() -> None:
    assert open_source(StreamConfig(source="rtsp://u:hunter2@h/a"), threading.Event()).name == "rtsp://***@h/a"


def test_by_default_it_only_waits_before_the_next_try() -> None:
    stop = threading.Event()
    source = open_source(StreamConfig(source="clip.mp4"), stop)
    started = time.monotonic()
    source.await_return(0.05)
    assert time.monotonic() - started >= 0.05
    stop.set()
    source.await_return(60)
    assert time.monotonic() - started < 5


def test_the_threads_are_those_of_the_budget() -> None:
    assert open_source(StreamConfig(source="rtsp://h/"), threading.Event(), 3).threads == 3
