from __future__ import annotations

import json
import logging
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from streamd.notify import command
from streamd.notify.command import Commands, environment, filled
from tests.support.waiting import until_async
from tests.unit.notify.test_message import AWAY, NEAR

pytestmark = pytest.mark.timeout(20)


@asynccontextmanager
async def commands(*arguments: str, timeout_s: float = 10.0) -> AsyncIterator[Commands]:
    made = Commands(arguments, timeout_s)
    try:
        yield made
    finally:
        await made.close()


def python(code: str, *arguments: str) -> tuple[str, ...]:
    return sys.executable, "-IS", "-c", code, *arguments


async def comes_true(what: str, check: Callable[[], object]) -> None:
    async def asked() -> bool:
        return bool(check())

    await until_async(what, asked, step_s=0.005)


async def test_it_gets_the_event_as_arguments_json_and_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAMD_HOOKS__WEBHOOK_SECRET", "hunter2")
    monkeypatch.setenv("AWS_SECRET", "hunter3")
    file = tmp_path / "told"
    code = (
        "import json,os,sys;open(sys.argv[1],'w').write(json.dumps([sys.argv[2:],sys.stdin.read(),dict(os.environ)]))"
    )
    async with commands(*python(code, str(file), "{stream}: $(id) {zone}", '{"k": "{kind}"}')) as made:
        made.tell(NEAR)
        await comes_true("it ran", lambda: file.exists() and file.read_text())
        await comes_true("it ended", lambda: not made._running)
    arguments, given, variables = json.loads(file.read_text())
    assert arguments == ["porch: $(id) door", '{"k": "near"}']
    assert json.loads(given)["data"]["area"] == 0.1235
    assert (variables["STREAMD_TYPE"], variables["STREAMD_ZONE"], variables["STREAMD_AREA"]) == (
        "zone.near",
        "door",
        "0.1235",
    )
    assert "PATH" in variables
    assert "hunter" not in str(variables)


def test_what_an_event_brings_is_put_in_once() -> None:
    assert filled("{zone}{stream}{x} {", {"zone": "{stream}", "stream": "s"}) == "{stream}s{x} {"
    assert environment(AWAY, {"PATH": "/bin", "SECRET": "x"}).keys() == {
        "PATH", "STREAMD_TYPE", "STREAMD_TIME", "STREAMD_STREAM", "STREAMD_KIND", "STREAMD_STATE", "STREAMD_REASON",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("/no/such/program",), "hooks.command: /no/such/program: No such file or directory"),
        (("/etc/passwd",), "hooks.command: /etc/passwd: Permission denied"),
        (python("import sys; sys.exit('http://u:hunter2@h went wrong')"), "exit code 1: http://***@h went wrong"),
        (python("import os; os.kill(os.getpid(), 9)"), "exit code -9: it said nothing"),
        (python("import sys; sys.stderr.write('x' * 10**7); sys.exit(3)"), "exit code 3: " + "x" * 100),
    ],
)
async def test_one_that_fails_is_logged_in_a_line(
    arguments: tuple[str, ...], line: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with commands(*arguments) as made:
        made.tell(NEAR)
        await comes_true("logged", lambda: line in caplog.text)
        await comes_true("it ended", lambda: not made._running)
    assert "hunter2" not in caplog.text
    assert len(caplog.text) < 600


async def test_one_that_takes_too_long_is_killed_with_its_children(caplog: pytest.LogCaptureFixture) -> None:
    began = time.monotonic()
    async with commands("/bin/sh", "-c", "sleep 60 & sleep 60", timeout_s=0.2) as made:
        made.tell(NEAR)
        await comes_true("killed", lambda: "killed: it took longer than 0.2 s" in caplog.text)
    assert time.monotonic() - began < 5


async def test_so_many_at_once_and_those_of_a_stream_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(command, "MAX_WAITING", 10)
    gate, told = tmp_path / "gate", tmp_path / "told"
    script = f"while [ ! -e {gate} ]; do sleep 0.01; done; echo $STREAMD_STREAM $STREAMD_KIND >> {told}"
    async with commands("/bin/sh", "-c", script) as made:
        for number in range(6):
            for kind in ("near", "clear"):
                made.tell(replace(NEAR, stream=f"s{number}", kind=kind))
        made.tell(NEAR)
        made.tell(NEAR)
        made.tell(NEAR)
        assert len(made._running) == command.MAX_AT_ONCE
        assert "an event is not told" in caplog.text
        gate.touch()
        await comes_true("all ended", lambda: not made._running)
    lines = told.read_text().splitlines()
    assert all(lines.index(f"s{number} near") < lines.index(f"s{number} clear") for number in range(6))


async def test_the_end_kills_what_runs(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with commands("/bin/sleep", "60") as made:
        made.tell(NEAR)
        began = time.monotonic()
    assert time.monotonic() - began < 1
    assert caplog.text == ""
