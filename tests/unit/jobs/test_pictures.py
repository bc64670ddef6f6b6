"""Many pictures, with a network that the test plays."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from streamd.errors import SinkError, StreamdError, UsageError
from streamd.jobs import pictures
from streamd.jobs.pictures import Task, depth_of_pictures, plan
from tests.support.played import PlayedService

PICTURE = cv2.imencode(".png", np.arange(64 * 48 * 3, dtype=np.uint8).reshape(48, 64, 3))[1].tobytes()


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def images(*names: str) -> list[str]:
    for name in names:
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_bytes(PICTURE)
    return list(names)


def make(tasks: list[Task], service: PlayedService | None = None) -> tuple[int, list[str]]:
    lines: list[str] = []

    def report(error: StreamdError) -> str:
        lines.append(str(error))
        return str(error)

    failed = depth_of_pictures(tasks, service or PlayedService(), "depth", "png", report=report)  # type: ignore[arg-type]
    return failed, sorted(lines)


def test_each_keeps_its_name() -> None:
    tasks = plan(images("a.jpg", "b.tar.jpg", "c"), Path("out"), "png16")
    assert tasks == [
        Task("a.jpg", Path("out/a.png")),
        Task("b.tar.jpg", Path("out/b.tar.png")),
        Task("c", Path("out/c.png")),
    ]
    assert make(tasks) == (0, [])
    assert sorted(os.listdir("out")) == ["a.png", "b.tar.png", "c.png"]
    assert np.asarray(cv2.imread("out/a.png")).shape == (48, 64, 3)


def test_two_for_one_file_are_refused_before_anything_is_made() -> None:
    with pytest.raises(UsageError, match=r"^out/a\.npz: would be made of both x/a\.jpg and y/a\.png: rename one"):
        plan(images("x/a.jpg", "y/a.png"), Path("out"), "npz")
    assert not Path("out").exists()


def test_no_picture_is_written_over() -> None:
    os.link(images("b.png", "c.jpg")[0], "hard.png")
    Path("same").symlink_to(".")
    for given, name in ((["b.png", "c.jpg"], "b.png"), (["same/b.png"], "b.png"), (["b.png", "x/hard.jpg"], "b.png")):
        with pytest.raises(UsageError, match=rf"^{name}: is one of the pictures themselves"):
            plan(given, Path("."), "png")
    assert plan(["b.png"], Path("."), "jpg") == [Task("b.png", Path("b.jpg"))]


def test_a_folder_that_cannot_be_made() -> None:
    with pytest.raises(SinkError, match=r"^none/out: no such file or directory$"):
        plan(images("a.jpg"), Path("none/out"), "png")


def test_one_that_fails_does_not_stop_the_others() -> None:
    images("a.jpg", "d.jpg")
    Path("bad.jpg").write_bytes(b"no picture")
    failed, lines = make(plan(["a.jpg", "bad.jpg", "gone.jpg", "d.jpg"], Path("out"), "png"))
    assert failed == 2
    assert lines[0].startswith("bad.jpg: is not a picture")
    assert lines[1] == "gone.jpg: no such file or directory"
    assert sorted(os.listdir("out")) == ["a.png", "d.png"]


def test_one_that_the_worker_dies_of_is_named() -> None:
    service = PlayedService()
    service.lost = [1, 1]
    failed, lines = make(plan(images("a.jpg"), Path("out"), "png"), service)
    assert (failed, lines) == (1, ["depth worker crashed: a.jpg: test"])


def test_a_full_disk_is_a_line_for_each(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert make(plan(images("a.jpg", "b.jpg"), Path("out"), "png")) == (
        2,
        ["out/a.png: no space left on the disk", "out/b.png: no space left on the disk"],
    )
    assert os.listdir("out") == []


def test_a_fault_of_ours_ends_it_and_says_at_what(monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(*_: object) -> None:
        raise RuntimeError("ours")

    monkeypatch.setattr(pictures, "depth_of_picture", fault)
    with pytest.raises(RuntimeError) as caught:
        make(plan(images("a.jpg"), Path("out"), "png"))
    assert caught.value.__notes__ == ["making out/a.png of a.jpg"]


def test_some_are_made_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})
    together = threading.Barrier(3, timeout=10)
    real: Callable[..., memoryview] = pictures.depth_of_picture  # type: ignore[attr-defined]

    def wait(*arguments: object) -> memoryview:
        together.wait()
        return real(*arguments)

    monkeypatch.setattr(pictures, "depth_of_picture", wait)
    assert make(plan(images("a.jpg", "b.jpg", "c.jpg"), Path("out"), "png")) == (0, [])
