from __future__ import annotations

from pathlib import Path

from streamd.installer.service import Service
from tests.support.installing import Box
from tests.unit.installer.conftest import Code


def test_knows_the_environment_that_it_runs_in(live: Box, code: Code) -> None:
    service = Service(live.machine)
    assert service.environment() is None
    live.install()
    assert service.environment() == live.root / "opt/streamd/versions/0.1.0-first000"


def test_a_restart_reports_why_it_failed(live: Box, code: Code) -> None:
    live.install()
    service = Service(live.machine)
    assert service.restart() == ""
    assert service.restart(Path("/another")) == "it is active"
    live.fails["systemctl restart"] = (1, "Job failed")
    live.prints["journalctl"] = "a line\nstreamd: 127.0.0.1:8080: in use\n"
    assert service.restart() == "127.0.0.1:8080: in use"


def test_one_that_ends_after_it_was_ready_does_not_run(live: Box, code: Code) -> None:
    live.install()
    live.prints["systemctl show"] = "ActiveState=activating\nMainPID=0\n"
    assert Service(live.machine).restart() == "it is activating"
