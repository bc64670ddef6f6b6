"""`streamd doctor`: what it prints, and its exit code."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from streamd import doctor
from streamd.doctor.finding import Finding, Status
from tests.support.commands import outcome

pytestmark = pytest.mark.usefixtures("logging_restored")


class TestDoctor:
    @pytest.fixture
    def finds(self, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
        """What the doctor finds on this machine."""

        def finds(*statuses: Status) -> None:
            findings = [Finding(f"check{n}", status, "something") for n, status in enumerate(statuses)]
            monkeypatch.setattr(doctor, "examine", lambda config: iter(findings))

        return finds

    @pytest.mark.parametrize(
        ("statuses", "code", "err"),
        [
            (("ok", "warning"), 0, ""),
            (("problem", "ok"), 1, "streamd: doctor: 1 problem\n"),
            (("problem", "problem"), 1, "streamd: doctor: 2 problems\n"),
        ],
    )
    def test_the_exit_code_reports_problems(
        self,
        finds: Callable[..., None],
        capsys: pytest.CaptureFixture[str],
        statuses: tuple[Status, ...],
        code: int,
        err: str,
    ) -> None:
        finds(*statuses)
        assert outcome("doctor") == code
        output = capsys.readouterr()
        assert output.out.splitlines() == [f"{status:8}check{n:<6}something" for n, status in enumerate(statuses)]
        assert output.err == err

    def test_json(self, finds: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
        finds("ok", "problem")
        assert outcome("doctor", "--json") == 1
        assert json.loads(capsys.readouterr().out)["status"] == "problem"

    def test_a_good_configuration(
        self, finds: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        finds("ok")
        file = tmp_path / "streamd.toml"
        file.write_text("")
        assert outcome("doctor", "--config", str(file)) == 0
        assert capsys.readouterr().out.startswith(f"ok      config     {file} is valid\n")

    def test_a_bad_one_is_reported_beside_the_rest(
        self, finds: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        finds("ok")
        file = tmp_path / "streamd.toml"
        file.write_text("[bogus]\n")
        assert outcome("doctor", "--json", "--config", str(file)) == 78
        output = capsys.readouterr()
        assert [each["check"] for each in json.loads(output.out)["findings"]] == ["config", "check0"]
        assert output.err == "streamd: bogus: unknown key; `streamd schema` lists those that exist\n"
