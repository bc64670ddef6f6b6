from __future__ import annotations

import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from streamd.errors import PictureError, SourceError, SourceRejected, SourceUnsupported
from streamd.jobs import inputs
from streamd.jobs.inputs import read_picture_file, spooled


@contextmanager
def fed(path: Path, data: bytes) -> Iterator[str]:
    """A FIFO, and somebody who writes into it."""

    def write() -> None:
        try:
            path.write_bytes(data)
        except BrokenPipeError:
            pass

    os.mkfifo(path)
    writer = threading.Thread(target=write)
    writer.start()
    yield str(path)
    writer.join()


def test_a_pipe_is_copied_and_the_copy_goes(tmp_path: Path) -> None:
    with fed(tmp_path / "pipe.ts", b"packets") as pipe, spooled(pipe) as path:
        assert [Path(path).read_bytes() for _ in range(2)] == [b"packets"] * 2
        assert path.endswith(".ts")
    assert not os.path.exists(os.path.dirname(path))


def test_a_socket_that_is_open_is_copied_too() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.send(b"packets")
        theirs.shutdown(socket.SHUT_WR)
        with spooled(f"/dev/fd/{ours.fileno()}") as path:
            assert Path(path).read_bytes() == b"packets"


def test_a_file_is_taken_as_it_is(tmp_path: Path) -> None:
    for place in (__file__, str(tmp_path), "/none/x.mp4"):
        with spooled(place) as path:
            assert path == place


def test_errors_name_the_pipe(tmp_path: Path) -> None:
    with (
        fed(tmp_path / "a\nb", b"") as pipe,
        pytest.raises(SourceUnsupported, match=r"^/.*/a\\nb: has no video$"),
        spooled(pipe) as path,
    ):
        raise SourceUnsupported(path, "has no video")


def test_a_pipe_without_end_does_not_fill_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: SimpleNamespace(free=100))
    with (
        fed(tmp_path / "pipe", b"x" * 51) as pipe,
        pytest.raises(SourceUnsupported, match="does not end"),
        spooled(pipe),
    ):
        pass


def test_no_folder_for_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "none"))
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SourceError, match="set TMPDIR"), spooled(str(tmp_path / "pipe")):
        pass


def test_a_picture_comes_from_a_file_or_a_pipe(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"picture")
    assert read_picture_file(str(tmp_path / "file")) == b"picture"
    with fed(tmp_path / "pipe", b"picture") as pipe:
        assert read_picture_file(pipe) == b"picture"


@pytest.mark.skipif(os.geteuid() != 0, reason="NOTHING IS FORBIDDEN: needs root, to become somebody else")
def test_what_may_not_be_read(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.touch(0o600)
    os.seteuid(65534)
    try:
        with pytest.raises(SourceRejected, match=rf"^{file}: permission denied$"):
            read_picture_file(str(file))
        with spooled(str(file)) as path:
            assert path == str(file)
    finally:
        os.seteuid(0)


def test_pictures_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inputs, "MAX_PICTURE_BYTES", 1 << 20)
    with pytest.raises(PictureError, match="is larger than 1 MB"):
        read_picture_file("/dev/zero")
    with pytest.raises(SourceError, match=r"^/none: no such file or directory$"):
        read_picture_file("/none")
    with pytest.raises(SourceError, match=r": is a directory$"):
        read_picture_file(str(tmp_path))
    ours, terminal = os.openpty()
    try:
        with pytest.raises(SourceError, match="is a terminal"):
            read_picture_file(f"/dev/fd/{terminal}")
    finally:
        os.close(ours)
        os.close(terminal)
