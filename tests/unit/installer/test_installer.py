from __future__ import annotations

import os
from pathlib import Path

import pytest

from streamd import cli


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
    assert cli.main(["service", "install", "--rollback", "--torch", "x", "--root", str(tmp_path)]) == 2
    assert "--rollback goes with no other choice" in capsys.readouterr().err
