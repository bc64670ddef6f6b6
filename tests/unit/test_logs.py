from __future__ import annotations

import logging
import re

import pytest

from streamd import logs

pytestmark = pytest.mark.usefixtures("logging_restored")


def said(capsys: pytest.CaptureFixture[str], **options: bool) -> list[str]:
    logs.set_up(**options)
    log = logging.getLogger("streamd.test")
    for number, level in enumerate((logging.DEBUG, logging.INFO, logging.WARNING)):
        log.log(level, "line %d of rtsp://u:hunter2@h/x", number)
    logging.getLogger("aiortc").info("chatter")
    return capsys.readouterr().err.splitlines()


def test_commands_that_end_soon_say_warnings_only(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, plain=True) == ["streamd: line 2 of rtsp://***@h/x"]


def test_the_daemon_says_what_happens_and_when(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    lines = said(capsys)
    assert len(lines) == 2
    assert re.fullmatch(r"\d\d:\d\d:\d\d INFO    line 1 of rtsp://\*\*\*@h/x", lines[0])


def test_journald_adds_the_time_itself(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "8:1")
    assert said(capsys)[0] == "INFO line 1 of rtsp://***@h/x"


def test_debug_says_everything_but_passwords(capsys: pytest.CaptureFixture[str]) -> None:
    lines = said(capsys, debug=True)
    assert len(lines) == 4
    assert "hunter2" not in "".join(lines)


def test_tracebacks_are_redacted_too(capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up()
    try:
        raise ValueError("http://h/?token=hunter2")
    except ValueError:
        logging.getLogger("streamd").exception("it failed")
    text = capsys.readouterr().err
    assert "Traceback" in text
    assert "token=***" in text
    assert "hunter2" not in text.split("ValueError", 1)[1]
