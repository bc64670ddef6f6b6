from __future__ import annotations

import json
import logging
import re
import threading
import time
from datetime import datetime

import pytest

from streamd.concurrency import threads
from streamd.telemetry import logs

pytestmark = pytest.mark.usefixtures("logging_restored")


def output(capsys: pytest.CaptureFixture[str], **options: bool) -> list[str]:
    logs.set_up(**options)
    log = logging.getLogger("streamd.test")
    for number, level in enumerate((logging.DEBUG, logging.INFO, logging.WARNING)):
        log.log(level, "line %d of rtsp://u:hunter2@h/x", number)
    logging.getLogger("aiortc").info("chatter")
    return capsys.readouterr().err.splitlines()


def test_commands_that_end_soon_log_warnings_only(capsys: pytest.CaptureFixture[str]) -> None:
    assert output(capsys, plain=True) == ["streamd: line 2 of rtsp://***@h/x"]


def test_the_daemon_logs_what_happens_and_when(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    lines = output(capsys)
    assert len(lines) == 2
    assert re.fullmatch(r"\d\d:\d\d:\d\d INFO    line 1 of rtsp://\*\*\*@h/x", lines[0])


def test_journald_adds_the_time_itself(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "8:1")
    assert output(capsys) == ["<6>line 1 of rtsp://***@h/x", "<4>line 2 of rtsp://***@h/x"]


def test_debug_logs_everything_but_passwords(capsys: pytest.CaptureFixture[str]) -> None:
    lines = output(capsys, debug=True)
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


def test_for_machines_each_line_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    logs.set_up(as_json=True)
    logs.StreamLog(logging.getLogger("streamd.streams.stream"), "por%ch").warning("lost %s", "rtsp://u:hunter2@h/x")
    try:
        raise ValueError("http://h/?token=hunter2")
    except ValueError:
        logging.getLogger("streamd").exception("it failed")
    first, second = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert first["message"] == "stream por%ch: lost rtsp://***@h/x"
    assert (first["level"], first["logger"], first["stream"]) == ("warning", "streamd.streams.stream", "por%ch")
    assert datetime.fromisoformat(first["time"]).tzinfo is not None
    assert "Traceback" in second["traceback"]
    assert "hunter2" not in second["traceback"].split("ValueError", 1)[1]


class TestCollapse:
    @pytest.fixture
    def now(self, monkeypatch: pytest.MonkeyPatch) -> list[float]:
        moment = [1000.0]
        monkeypatch.setattr("streamd.telemetry.logs.time.monotonic", lambda: moment[0])
        return moment

    def test_faults_that_repeat_are_counted(self, capsys: pytest.CaptureFixture[str], now: list[float]) -> None:
        logs.set_up(plain=True)
        porch, yard = (logs.StreamLog(logging.getLogger("streamd.streams.stream"), name) for name in ("porch", "yard"))
        for number in range(100):
            porch.warning("lost: %d", number)
        yard.warning("lost: %d", 0)
        now[0] += logs.WINDOW_S
        porch.warning("lost: %d", 100)
        lines = capsys.readouterr().err.splitlines()
        assert lines[: logs.BURST] == [f"streamd: stream porch: lost: {n}" for n in range(logs.BURST)]
        assert lines[logs.BURST :] == [
            "streamd: stream yard: lost: 0",
            f"streamd: stream porch: lost: 100 (and {100 - logs.BURST} more like this)",
        ]

    def test_what_is_no_fault_is_always_logged(self, capsys: pytest.CaptureFixture[str]) -> None:
        logs.set_up()
        for _ in range(50):
            logging.getLogger("streamd").info("a viewer came")
        assert len(capsys.readouterr().err.splitlines()) == 50

    def test_it_does_not_grow(self, now: list[float]) -> None:
        collapse = logs.Collapse()
        for number in range(5 * logs.MAX_KINDS):
            collapse.filter(logging.LogRecord("x", logging.ERROR, "", 0, f"fault {number}", None, None))
        assert len(collapse._kinds) <= logs.MAX_KINDS


class TestInBackground:
    def test_all_is_written_in_order_by_the_end(self, capsys: pytest.CaptureFixture[str]) -> None:
        logs.set_up(plain=True)
        with logs.in_background():
            for number in range(logs.BURST):
                logging.getLogger("streamd").warning("line %d of rtsp://u:hunter2@h/x", number)
        assert capsys.readouterr().err.splitlines() == [
            f"streamd: line {number} of rtsp://***@h/x" for number in range(logs.BURST)
        ]

    def test_a_reader_that_stopped_reading_keeps_nobody_waiting(self, monkeypatch: pytest.MonkeyPatch) -> None:
        written: list[str] = []
        reads = threading.Event()

        class Stuck(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                reads.wait(20)
                written.append(record.getMessage())

        monkeypatch.setattr(logs, "QUEUE_LINES", 3)
        root = logging.getLogger()
        root.handlers[:] = [Stuck()]
        with logs.in_background():
            for number in range(100):  # returns, for whoever logs
                root.warning("line %d", number)
            reads.set()
        lines = [line for line in written if line.startswith("line ")]
        assert lines == [f"line {number}" for number in range(len(lines))]
        assert f"{100 - len(lines)} lines dropped: their reader is too slow" in written
        assert len(lines) <= 4

    def test_the_end_does_not_wait_for_such_a_reader_for_ever(self, monkeypatch: pytest.MonkeyPatch) -> None:
        reads = threading.Event()

        class Stuck(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                reads.wait(20)

        monkeypatch.setattr(logs, "CLOSE_S", 0.01)
        root = logging.getLogger()
        root.handlers[:] = [Stuck()]
        with logs.in_background():
            root.warning("a line")
        assert threads.any_abandoned()
        reads.set()
        while threads.any_abandoned():
            time.sleep(0.001)
