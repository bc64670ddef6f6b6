"""A video that lies on its side, with pixels that are not square: `streamd run` shows it as players do."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av

from tests.e2e.conftest import StartDaemon
from tests.e2e.pictures import read
from tests.support.corners import MATRICES, corners, write_corners
from tests.support.settings import write_settings


def test_a_snapshot(daemon: StartDaemon, tmp_path: Path) -> None:
    matrix, found = MATRICES["along the other"]
    path = write_corners(tmp_path / "a.mp4", matrix=matrix, aspect=Fraction(2), count=20)
    settings = write_settings(tmp_path / "streamd.toml", {"film": {"source": str(path), "loop": True}})
    running = daemon("--config", settings).until_ready()
    answer = running.get("/api/v1/streams/film/snapshot?view=source&format=png")
    assert answer.status == 200, answer.text
    picture = read(answer.body)
    assert picture.shape == (128, 48, 3)
    assert corners(av.VideoFrame.from_ndarray(picture, format="rgb24")) == found
