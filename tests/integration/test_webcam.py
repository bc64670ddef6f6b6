"""Webcams: no device here, so the camera is a clip; what matters is what is asked of it."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from streamd.config import StreamConfig
from streamd.errors import SourceEnded, SourceError, SourceRejected, SourceUnreachable, SourceUnsupported
from streamd.sources import open_source
from streamd.sources.base import Source
from streamd.sources.webcam import WebcamSource
from tests.support.clips import number_in, write_clip

pytestmark = pytest.mark.timeout(30)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    folder = tmp_path_factory.mktemp("clips")
    write_clip(folder / "plain.mp4", 30)
    return lambda name: folder / name


def source_of(source: object, stop: threading.Event | None = None, **config: Any) -> Source:
    return open_source(StreamConfig(source=str(source), **config), stop or threading.Event())


def numbers(source: Source, most: int = 10_000) -> list[int]:
    with contextlib.closing(source.frames()) as frames:
        return [number_in(frame) for frame in islice(frames, most)]


class TestWebcam:
    """The camera is a clip; what matters is what is asked of it."""

    @pytest.fixture
    def asked(self, clips: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch) -> list[dict[str, str]]:
        asked: list[dict[str, str]] = []
        self.failures: list[SourceError] = []
        opened = Source.opened

        def open_clip(source: Source, url: str, *, format: str, options: dict[str, str]) -> Any:
            assert (url, format) == ("/dev/v4l/by-id/cam", "v4l2")
            asked.append(options)
            if self.failures:
                raise self.failures.pop(0)
            return opened(source, str(clips("plain.mp4")))

        monkeypatch.setattr(WebcamSource, "opened", open_clip)
        return asked

    def test_motion_jpeg_is_asked_for_first(self, asked: list[dict[str, str]]) -> None:
        found = []
        with pytest.raises(SourceEnded, match="was it unplugged"):
            found.extend(number_in(frame) for frame in source_of("v4l2:/dev/v4l/by-id/cam").frames())
        assert found == list(range(30))
        assert [options.get("input_format") for options in asked] == ["mjpeg"]

    def test_a_camera_without_it_is_taken_as_it_is(self, asked: list[dict[str, str]]) -> None:
        self.failures = [SourceUnsupported("cam", "no such format")]
        assert len(numbers(source_of("v4l2:/dev/v4l/by-id/cam"), 5)) == 5
        assert asked[1] == {}

    @pytest.mark.parametrize("error", [SourceUnreachable("cam", "no such device"), SourceRejected("cam", "refused")])
    def test_a_camera_that_is_not_there_is_not_asked_twice(
        self, asked: list[dict[str, str]], error: SourceError
    ) -> None:
        self.failures = [error]
        with pytest.raises(type(error)):
            numbers(source_of("v4l2:/dev/v4l/by-id/cam"))
        assert len(asked) == 1
