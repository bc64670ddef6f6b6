"""What failed, in one line."""

from __future__ import annotations

import os
import sys
from importlib import resources
from pathlib import Path

import pytest

from streamd.cli import check, convert
from streamd.errors import StreamdError
from tests.support.commands import outcome

pytestmark = pytest.mark.usefixtures("logging_restored")


@pytest.mark.parametrize(
    "error", [StreamdError("rtsp://u:hunter2@h/ failed"), RuntimeError("rtsp://u:hunter2@h/\nfailed")]
)
def test_any_failure_is_one_line_without_passwords(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(os, "_exit", sys.exit)  # it means it: threads may be left
    monkeypatch.setattr(check, "load", fail)
    assert outcome("check", "x") == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "Traceback" not in err
    assert "hunter2" not in err


def test_a_fault_says_at_what_and_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "_exit", sys.exit)
    monkeypatch.setattr(convert, "start_service", lambda *_, **__: [][0])
    (tmp_path / "a\nb.mp4").write_bytes(resources.files("streamd").joinpath("assets/demo.mp4").read_bytes())
    assert outcome("convert", str(tmp_path / "a\nb.mp4"), "out.mp4") == 1
    assert capsys.readouterr().err == (
        f"streamd: converting {tmp_path}/a\\nb.mp4 to out.mp4: a fault of streamd's: "
        "IndexError('list index out of range'); please report it with what --debug shows\n"
    )
