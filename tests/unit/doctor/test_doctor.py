"""The doctor as a whole: what it makes of its checks."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from streamd import doctor
from streamd.config.sections import Config
from streamd.doctor.finding import Finding
from streamd.errors import ConfigError, Problem
from tests.support.findings import SECRET


class TestReport:
    def test_every_check_yields_under_its_name_on_any_machine(self) -> None:
        findings = list(doctor.examine(Config()))
        assert {check.__name__ for check in doctor.CHECKS} - {each.check for each in findings} == {
            "endpoints",
            "streams",
            "files",
            "rtsp",
        }
        assert not [each for each in findings if "could not be checked" in each.found]

    def test_a_check_that_fails_leaves_the_others(self) -> None:
        def broken(config: Config) -> Iterator[Finding]:
            yield Finding("broken", "ok", "half of it")
            raise RuntimeError(f"rtsp://admin:{SECRET}@camera/")

        def missing(config: Config) -> Iterator[Finding]:
            raise ImportError("No module named 'av'")
            yield

        def well(config: Config) -> Iterator[Finding]:
            yield Finding("well", "ok", "fine")

        findings = list(doctor.examine(Config(), (broken, missing, well)))
        assert [(each.check, each.status) for each in findings] == [
            ("broken", "problem"),
            ("missing", "problem"),
            ("well", "ok"),
        ]
        assert SECRET not in repr(findings)

    def test_a_line_each_and_the_advice_below(self) -> None:
        out = io.StringIO()
        doctor.show(Finding("port", "ok", "is free"), out)
        doctor.show(Finding("models", "warning", "missing", "fetch it"), out)
        assert out.getvalue() == (
            "ok      port       is free\n"
            "warning models     missing\n"
            "                   -> fetch it\n"
        )  # fmt: skip

    @pytest.mark.parametrize(("no_color", "colored"), [(None, True), ("1", False)])
    def test_colour_on_a_terminal_that_wants_it(
        self, monkeypatch: pytest.MonkeyPatch, no_color: str | None, colored: bool
    ) -> None:
        monkeypatch.delenv("NO_COLOR", raising=False)
        if no_color:
            monkeypatch.setenv("NO_COLOR", no_color)
        out = io.StringIO()
        out.isatty = lambda: True  # type: ignore[method-assign]
        doctor.show(Finding("port", "problem", "is taken"), out)
        assert ("\033[31m" in out.getvalue()) is colored

    def test_the_worst_counts(self) -> None:
        well, odd, bad = (Finding("x", status, "") for status in ("ok", "warning", "problem"))
        assert [doctor.worst(each) for each in ([], [well], [well, odd], [bad, odd])] == [
            "ok",
            "ok",
            "warning",
            "problem",
        ]

    def test_json(self) -> None:
        document = json.loads(doctor.as_json([Finding("disk", "warning", "full", "free some", {"free_bytes": 1})]))
        assert document["status"] == "warning"
        assert document["findings"] == [
            {
                "check": "disk",
                "status": "warning",
                "found": "full",
                "advice": "free some",
                "details": {"free_bytes": 1},
            }
        ]

    def test_a_configuration(self) -> None:
        (good,) = doctor.of_config("a.toml", None)
        assert (good.status, good.found) == ("ok", "a.toml is valid")
        bad = doctor.of_config("a.toml", ConfigError([Problem("a.b", "1", "wrong"), Problem("c", "", "unknown")]))
        assert [(each.status, each.found) for each in bad] == [("problem", "a.b: 1: wrong"), ("problem", "c: unknown")]

    def test_neither_torch_nor_telemetry_is_loaded(self) -> None:
        script = (
            "import sys; from streamd.cli import main; code = main(['doctor', '--json']);"
            "assert 'torch' not in sys.modules and sys.modules['openvino_telemetry'] is None; sys.exit(code)"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
        assert "AssertionError" not in done.stderr
        assert json.loads(done.stdout)["version"]
