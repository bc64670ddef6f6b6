"""`streamd service` and `python -m streamd.installer`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from streamd import cli
from tests.support.installing import REPOSITORY


@pytest.mark.usefixtures("logging_restored")
def test_without_root_or_systemd_there_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Path, "is_dir", lambda self: False)
    for action in ("install", "uninstall", "status"):
        assert cli.main(["service", action]) == 1
        assert capsys.readouterr().err.startswith("streamd: systemd does not run here; ")
    monkeypatch.setattr(Path, "is_dir", lambda self: True)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert cli.main(["service", "install"]) == 1
    assert capsys.readouterr().err == "streamd: needs root: sudo streamd service, or sudo make install\n"


@pytest.mark.usefixtures("logging_restored")
def test_impossible_places_are_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert cli.main(["service", "install", "--root", str(tmp_path), "--prefix", "here"]) == 2
    assert capsys.readouterr().err == "streamd: --prefix here: not an absolute path\n"
    assert cli.main(["service", "status", "--root", str(tmp_path)]) == 2
    assert "does not run" in capsys.readouterr().err
    assert cli.main(["service", "install", "--rollback", "--root", str(tmp_path)]) == 1
    assert capsys.readouterr().err == "streamd: there is no version to go back to\n"
    assert cli.main(["service", "install", "--rollback", "--torch-index", "x", "--root", str(tmp_path)]) == 2
    assert "--rollback goes with no other choice" in capsys.readouterr().err


def test_it_needs_nothing_but_python(tmp_path: Path) -> None:
    """Not even what streamd depends on: `make install` runs it before anything is installed."""
    command = [sys.executable, "-S", "-B", "-m", "streamd.installer", "uninstall", "--root", str(tmp_path)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "not installed: nothing to remove\n", "")
    assert not (tmp_path / "opt/streamd").exists()
