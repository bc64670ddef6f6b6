"""Webcams with real pictures. No device here: av.open is a fake that opens a clip instead of the camera."""

from __future__ import annotations

import contextlib
import logging
import threading
from itertools import islice
from pathlib import Path
from typing import Any

import av
import pytest

from streamd.config.sections import StreamConfig
from streamd.errors import SourceEnded, SourceRejected, SourceUnreachable
from streamd.sources import open_source
from streamd.sources.base import Source
from tests.support.clips import HEIGHT, WIDTH, number_in, write_clip

CAMERA = "/dev/v4l/by-id/cam"

pytestmark = pytest.mark.timeout(30)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clips") / "camera.avi", 30, codec="mjpeg")


class Camera:
    """Stands at the seam of av.open."""

    def __init__(self, clip: Path) -> None:
        self.asked: list[dict[str, str]] = []
        self.failures: list[int] = []
        """errno of the first tries to open it."""
        self._clip = clip
        self._open = av.open

    def open(self, url: str, *, format: str, options: dict[str, str], **_: Any) -> Any:
        assert (url, format) == (CAMERA, "v4l2")
        self.asked.append(options)
        if self.failures:
            av.error.err_check(-self.failures.pop(0), url)
        return self._open(str(self._clip))


@pytest.fixture
def camera(clip: Path, monkeypatch: pytest.MonkeyPatch) -> Camera:
    camera = Camera(clip)
    monkeypatch.setattr(av, "open", camera.open)
    return camera


def source_of(**config: Any) -> Source:
    return open_source(StreamConfig(source=f"v4l2:{CAMERA}", **config), threading.Event())


def numbers(source: Source, most: int) -> list[int]:
    with contextlib.closing(source.frames()) as frames:
        return [number_in(frame) for frame in islice(frames, most)]


def test_motion_jpeg_is_asked_for_first_and_an_end_is_a_loss(camera: Camera) -> None:
    found: list[Any] = []
    with pytest.raises(SourceEnded, match="was it unplugged"):
        found.extend(number_in(frame) for frame in source_of().frames())
    assert found == list(range(30))
    assert [options.get("input_format") for options in camera.asked] == ["mjpeg"]


def test_a_camera_without_it_is_taken_as_it_is(camera: Camera) -> None:
    camera.failures = [22]
    assert numbers(source_of(), 5) == list(range(5))
    assert camera.asked[1].keys().isdisjoint({"input_format", "video_size", "framerate"})


@pytest.mark.parametrize("number", [1, 2, 13, 16, 19])
def test_a_camera_that_is_not_to_be_had_is_not_asked_twice(camera: Camera, number: int) -> None:
    camera.failures = [number]
    with pytest.raises((SourceUnreachable, SourceRejected)):
        numbers(source_of(), 1)
    assert len(camera.asked) == 1


def test_another_size_than_asked_for_is_logged_once(camera: Camera, caplog: pytest.LogCaptureFixture) -> None:
    assert len(numbers(source_of(), 5)) == 5
    reported = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert reported == [f"v4l2:{CAMERA}: gives {WIDTH}x{HEIGHT} instead of the 1280x720 that it was asked for"]


def test_the_size_asked_for_is_not_logged(camera: Camera, caplog: pytest.LogCaptureFixture) -> None:
    camera.failures = [22]  # the second try takes whatever comes
    assert len(numbers(source_of(), 5)) == 5
    assert caplog.records == []
