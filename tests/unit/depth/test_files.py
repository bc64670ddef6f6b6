from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from streamd.depth.files import writable


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for temporary files, on a machine where only that can be written."""
    access = os.access
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path).name == "tmp" and access(path, mode))
    (tmp_path / "tmp").mkdir()
    return tmp_path / "tmp"


def test_a_cache_that_can_be_made_is_used(tmp_path: Path) -> None:
    assert writable(tmp_path / "a" / "b") == tmp_path / "a" / "b"


def test_on_a_disk_that_is_read_only_a_folder_of_this_user_stands_in(
    tmp_path: Path, temporary: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        assert writable(tmp_path / "cache") == temporary / f"streamd-{os.getuid()}"
    assert caplog.text.count("cannot be written") == 1
    assert os.stat(temporary / f"streamd-{os.getuid()}").st_mode & 0o777 == 0o700


def test_a_folder_that_others_can_change_does_not(tmp_path: Path, temporary: Path) -> None:
    """What is in it is run."""
    (temporary / f"streamd-{os.getuid()}").symlink_to(tmp_path)
    assert writable(tmp_path / "cache-2") == tmp_path / "cache-2"
    (temporary / f"streamd-{os.getuid()}").unlink()
    (temporary / f"streamd-{os.getuid()}").mkdir(mode=0o777)
    (temporary / f"streamd-{os.getuid()}").chmod(0o777)
    assert writable(tmp_path / "cache-3") == tmp_path / "cache-3"
