"""Webcams: what is asked of a camera, and how long it is waited for. No device here: av.open is a fake that fails."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, NoReturn

import av
import av.error
import pytest

from streamd.config.sections import StreamConfig
from streamd.errors import SourceError, SourceRejected, SourceStalled, SourceUnreachable, SourceUnsupported
from streamd.sources import v4l2, webcam
from streamd.sources.v4l2 import PixelFormat, Size
from streamd.sources.webcam import Mode, WebcamSource, best_mode


def pixels(fourcc: str, *sizes: tuple[int, int, tuple[float, ...]]) -> PixelFormat:
    return PixelFormat(fourcc, "", tuple(Size(w, h, tuple(Fraction(rate) for rate in rates)) for w, h, rates in sizes))


MJPG = pixels("MJPG", (640, 480, (30, 15)), (1280, 720, (60, 30)), (1920, 1080, (30,)))
YUYV = pixels("YUYV", (320, 180, (30, 15, 5)), (640, 480, (30, 15)), (1280, 720, (10,)))


@pytest.mark.parametrize(
    ("formats", "height", "fps", "mode"),
    [
        ((YUYV, MJPG), 720, 30, ("mjpeg", 1280, 720, 30)),
        ((MJPG, YUYV), 720, 60, ("mjpeg", 1280, 720, 60)),
        ((MJPG, YUYV), 1080, 30, ("mjpeg", 1920, 1080, 30)),
        ((MJPG, YUYV), 2160, 30, ("mjpeg", 1920, 1080, 30)),
        ((MJPG, YUYV), 500, 30, ("mjpeg", 640, 480, 30)),  # 18 MB/s raw: two such cameras fill a USB 2 bus
        ((MJPG, YUYV), 480, 15, ("yuyv422", 640, 480, 15)),
        ((MJPG, YUYV), 100, 5, ("yuyv422", 320, 180, 5)),
        ((YUYV,), 720, 30, ("yuyv422", 640, 480, 30)),  # not the 10 fps of 1280x720
        ((YUYV,), 720, 10, ("yuyv422", 1280, 720, 10)),
        ((pixels("H264", (1280, 720, (30,))), MJPG), 720, 30, ("mjpeg", 1280, 720, 30)),
        ((pixels("H264", (1280, 720, (30,))),), 720, 30, ("h264", 1280, 720, 30)),
        (
            (pixels("MJPG", (960, 720, (30,)), (1280, 720, (30,)), (2560, 720, (30,))),),
            720,
            30,
            ("mjpeg", 1280, 720, 30),
        ),
        ((pixels("MJPG", (1280, 720, ())),), 720, 30, ("mjpeg", 1280, 720, None)),
    ],
)
def test_the_best_of_what_is_offered(
    formats: tuple[PixelFormat, ...], height: int, fps: float, mode: tuple[Any, ...]
) -> None:
    assert best_mode(formats, height, fps) == Mode(*mode)


def test_nothing_that_ffmpeg_knows() -> None:
    assert best_mode((), 720, 30) is None
    assert best_mode((pixels("BGRH", (640, 480, (30,))), pixels("MJPG")), 720, 30) is None


def test_the_options_for_ffmpeg() -> None:
    assert Mode("mjpeg", 640, 480, Fraction(30000, 1001)).options == {
        "input_format": "mjpeg",
        "video_size": "640x480",
        "framerate": "30000/1001",
    }
    assert "framerate" not in Mode("mjpeg", 640, 480).options


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[dict[str, str]]]:
    """What is asked of cameras that refuse it with these errno."""

    def refuse(*numbers: int, formats: tuple[PixelFormat, ...] = ()) -> list[dict[str, str]]:
        asked: list[dict[str, str]] = []
        left = list(numbers)

        def no(url: str, *, options: dict[str, str], **_: Any) -> NoReturn:
            assert url == "/dev/video7"
            asked.append(options)
            av.error.err_check(-left.pop(0), url)
            raise AssertionError

        camera = v4l2.Camera("/dev/video7", "Cam", None, "usb", formats)
        monkeypatch.setattr(v4l2, "camera", lambda path: camera)
        monkeypatch.setattr(av, "open", no)
        return asked

    return refuse


def source_of(source: str = "/dev/video7", **config: Any) -> WebcamSource:
    return WebcamSource(StreamConfig(source=source, **config), threading.Event())


@pytest.mark.parametrize(
    ("number", "error", "reason"),
    [
        (errno.EBUSY, SourceUnreachable, "is in use by another program; `fuser -v /dev/video7` shows which"),
        (errno.EACCES, SourceRejected, "group video"),
        (errno.EPERM, SourceRejected, "group video"),
        (errno.ENODEV, SourceUnreachable, "is unplugged"),
        (errno.ENOENT, SourceUnreachable, "no such device: is it plugged in?"),
        (errno.EIO, SourceUnreachable, "input/output error"),
    ],
)
def test_a_camera_that_is_not_to_be_had(
    asked: Callable[..., list[dict[str, str]]], number: int, error: type[SourceError], reason: str
) -> None:
    tries = asked(number, formats=(MJPG,))
    with pytest.raises(SourceError) as caught:
        next(source_of().frames())
    assert type(caught.value) is error
    assert str(caught.value).startswith("/dev/video7: ")
    assert reason in caught.value.reason
    assert len(tries) == 1, "another format does not help"


def test_a_format_that_it_does_not_give_after_all(asked: Callable[..., list[dict[str, str]]]) -> None:
    tries = asked(errno.EINVAL, errno.EINVAL, formats=(YUYV, MJPG))
    with pytest.raises(SourceUnsupported) as caught:
        next(source_of(height=480, max_fps=20).frames())
    assert caught.value.reason == (
        "does not give this format; it has YUYV 320x180 640x480 1280x720, MJPG 640x480 1280x720 1920x1080"
    )
    assert [(each.get("input_format"), each.get("video_size")) for each in tries] == [
        ("yuyv422", "640x480"),
        (None, None),
    ]


def test_one_that_lists_nothing_is_asked_for_motion_jpeg(asked: Callable[..., list[dict[str, str]]]) -> None:
    tries = asked(errno.EINVAL, errno.EBUSY)
    with pytest.raises(SourceUnreachable):
        next(source_of(height=1080).frames())
    assert tries[0].items() >= {"input_format": "mjpeg", "video_size": "1920x1080", "framerate": "30"}.items()
    assert "input_format" not in tries[1]


class Hanging:
    """A camera that has been opened and gives nothing, or something only after a while."""

    def __init__(self, *turns: object) -> None:
        self.turns = list(turns)

    def demux(self, stream: object) -> Any:
        while self.turns:
            turn = self.turns.pop(0)
            if turn is None:
                raise BlockingIOError
            yield turn
        raise BlockingIOError


def test_pictures_are_waited_for() -> None:
    source = source_of()
    source._shown_s = time.monotonic()
    packets = source.packets(Hanging(None, None, "a", None, "b"), None)  # type: ignore[arg-type]
    assert [next(packets), next(packets)] == ["a", "b"]
    source.stop.set()
    assert list(packets) == []


def test_one_that_hangs_is_given_up() -> None:
    source = source_of(read_timeout_s=0.05)
    source._shown_s = time.monotonic()
    with pytest.raises(SourceStalled, match="went silent"):
        list(source.packets(Hanging(), None))  # type: ignore[arg-type]


class TestReturn:
    @pytest.fixture
    def device(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setattr(webcam, "RETURN_POLL_S", 0.01)
        return tmp_path / "video0"

    def test_a_device_that_is_plugged_in_again_ends_the_wait(self, device: Path) -> None:
        link = device.with_name("by-id")
        link.symlink_to(device)
        source = source_of(f"v4l2:{link}")
        looks, wait = [], source.stop.wait

        def plugged_in_at_the_third_check(timeout: float | None = None) -> bool:
            looks.append(timeout)
            if len(looks) == 3:
                device.touch()
            return wait(timeout)

        source.stop.wait = plugged_in_at_the_third_check  # type: ignore[method-assign]
        source.await_return(60)
        assert len(looks) == 3

    def test_one_that_was_there_all_the_time_gets_the_whole_delay(self, device: Path) -> None:
        device.touch()
        started = time.monotonic()
        source_of(f"v4l2:{device}").await_return(0.1)
        assert time.monotonic() - started >= 0.1

    def test_one_that_stays_away(self, device: Path) -> None:
        started = time.monotonic()
        source_of(f"v4l2:{device}").await_return(0.1)
        assert time.monotonic() - started >= 0.1

    def test_stop_ends_it_at_once(self, device: Path) -> None:
        source = source_of(f"v4l2:{device}")
        source.stop.set()
        source.await_return(60)
