from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from streamd.host.whole_file import WholeFile, is_passed_on, phrase, write_whole


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def refusal(output: str | Path) -> str:
    with pytest.raises(OSError) as error:  # noqa: PT011
        WholeFile(output)
    return phrase(error.value)


def test_an_output_changes_in_one_step_at_the_end() -> None:
    output = Path("out.mp4")
    output.write_bytes(b"old")
    with WholeFile(output) as whole:
        assert whole.part.suffix == ".mp4"
        whole.part.write_bytes(b"new")  # by its name, as a muxer does
        assert output.read_bytes() == b"old"
    assert output.read_bytes() == b"new"
    assert os.listdir() == ["out.mp4"]


def test_a_failure_leaves_what_was_there() -> None:
    Path("out").write_bytes(b"old")
    with pytest.raises(TypeError), WholeFile("out") as whole:
        whole.write("no bytes")  # type: ignore[arg-type]
    assert Path("out").read_bytes() == b"old"
    assert os.listdir() == ["out"]


@pytest.mark.parametrize(
    "name",
    ["y" * 251 + ".mp4", "\N{GRINNING FACE}" * 63 + ".é", os.fsdecode(b"\xff\xfe.mp4"), "a\nb:%d*.mp4", "-", " ", "~"],
)
def test_any_name_that_the_file_system_takes(name: str) -> None:
    write_whole(name, b"data")
    assert Path(name).read_bytes() == b"data"
    assert os.listdir() == [name]


def test_a_link_is_written_through_though_nothing_is_there() -> None:
    Path("real").mkdir()
    Path("out").symlink_to("real/target")
    write_whole("out", b"first")
    write_whole("out", b"second")
    assert Path("real/target").read_bytes() == b"second"
    assert Path("out").is_symlink()
    assert os.listdir("real") == ["target"]


def test_permissions_are_the_umask_s_or_those_of_the_file_that_was_there() -> None:
    before = os.umask(0o027)
    try:
        write_whole("new", b"")
        Path("old").touch()
        Path("old").chmod(0o606)
        write_whole("old", b"")
    finally:
        os.umask(before)
    assert [stat.S_IMODE(os.stat(name).st_mode) for name in ("new", "old")] == [0o640, 0o606]


def test_only_one_writes_by_whatever_name() -> None:
    Path("link").symlink_to("out")
    first = WholeFile("out")
    for name in ("out", "./out", "link"):
        assert refusal(name) == f"is being written by another streamd (pid {os.getpid()})"
    WholeFile("other").discard()
    first.discard()
    WholeFile("out").discard()
    assert os.listdir() == ["link"]


def test_what_a_killed_process_left_is_removed_by_the_next() -> None:
    code = "import os, sys; from streamd.host.whole_file import WholeFile; WholeFile('out').write(b'x'); os._exit(9)"
    subprocess.run(
        [sys.executable, "-c", code], check=False, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    assert len(os.listdir()) == 1
    write_whole("out", b"whole")
    assert os.listdir() == ["out"]
    assert Path("out").read_bytes() == b"whole"


def test_refusals_come_before_any_work() -> None:
    os.symlink("b", "a")
    os.symlink("a", "b")
    os.mkfifo("pipe")
    Path("file").touch()
    here = Path.cwd()
    assert refusal("a") == "is a symbolic link that leads to itself"
    assert refusal("pipe") == "is a pipe, not a file"
    assert refusal("/dev/null") == "is a device, not a file"
    assert refusal(".") == refusal("") == "is a directory"
    assert refusal("none/out") == f"there is no folder {here}/none"
    assert refusal("file/out") == "not a directory"
    assert refusal("y" * 256) == "file name too long"


def test_a_file_that_is_mounted_by_itself_cannot_be_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    line = f"36 35 8:1 /x {Path.cwd()}/a\\040b rw - ext4 /dev/sda1 rw\n".encode()
    monkeypatch.setattr(Path, "read_bytes", lambda path: line)
    for name in ("a b", "ab"):
        Path(name).touch()
    assert refusal("a b") == "is a mount of its own: mount its folder instead"
    WholeFile("ab").discard()


def test_a_write_protected_file_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("out").touch()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert refusal("out") == "is write-protected"


def test_a_full_disk_leaves_what_was_there(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    Path("out").write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError) as error:  # noqa: PT011
        write_whole("out", b"new")
    assert phrase(error.value) == "no space left on the disk"
    assert Path("out").read_bytes() == b"old"
    assert os.listdir() == ["out"]


def test_a_pipe_gets_its_data_directly() -> None:
    os.mkfifo("pipe")
    got: list[bytes] = []
    reader = threading.Thread(target=lambda: got.append(Path("pipe").read_bytes()))
    reader.start()
    write_whole("pipe", b"data")
    reader.join()
    write_whole("/dev/null", b"data")
    assert got == [b"data"]
    assert os.listdir() == ["pipe"]


def test_an_open_descriptor_is_written_to_and_not_replaced() -> None:
    with open("out", "wb") as file:
        place = f"/dev/fd/{file.fileno()}"
        assert is_passed_on(place)
        write_whole(place, b"data")
        assert os.path.samestat(os.fstat(file.fileno()), os.stat("out"))
    assert Path("out").read_bytes() == b"data"


def test_the_folder_that_one_is_in_may_be_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    write_whole(tmp_path / "a.txt", b"new")
    assert (tmp_path / "a.txt").read_bytes() == b"new"
