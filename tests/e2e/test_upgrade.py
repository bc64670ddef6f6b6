"""An upgrade under a real systemd: to a version that works, to some that do not, and killed in the middle."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from streamd.installer import package, unit
from tests.e2e.conftest import Shared
from tests.e2e.machine import REPOSITORY, Machine, boot, missing
from tests.e2e.service import PYTHON_OF_THIS_TEST, START_S, Service, prepare
from tests.support.waiting import until

BROKEN_AT_ALL = ("streamd/daemon.py", "from __future__ import annotations\n", "import no_such_module\n")
BROKEN_WITH_STREAMS = (
    "streamd/cli/run.py",
    "    from streamd.daemon import Daemon\n",
    "    from streamd.daemon import Daemon\n"
    '    if config.streams:\n        raise StreamdError("this version is broken")\n',
)
NEXT = ("streamd/__init__.py", '__version__ = "0.1.0"', '__version__ = "0.1.1"')
pytestmark = [pytest.mark.skipif(bool(missing()), reason=missing()), pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with boot(tmp_path_factory.mktemp("machine")) as machine:
        yield machine


@pytest.fixture(scope="module")
def service(machine: Machine, shared: Shared) -> Service:
    """The first version runs."""
    service = prepare(machine, shared.cache)
    service.installer("install", "--python", PYTHON_OF_THIS_TEST)
    return service


@pytest.fixture
def running(service: Service) -> Service:
    until("it serves", service.serves, START_S)
    return service


def checkout(service: Service, name: str, *edits: tuple[str, str, str]) -> str:
    """Another one, where these files have other text."""
    place = service.machine.disk / "opt/checkouts" / name
    place.mkdir(parents=True, exist_ok=True)
    package.copy_sources(REPOSITORY, place)
    for file, old, new in edits:
        text = (place / file).read_text()
        assert old in text, f"{file} has changed: mend this test"
        (place / file).write_text(text.replace(old, new, 1))
    return f"/opt/checkouts/{name}"


def current(service: Service) -> str:
    return os.readlink(service.machine.disk / "opt/streamd/current").partition("/")[2]


def running_version(service: Service) -> str:
    python = Path(Path(f"/proc/{service.pid}/cmdline").read_text().partition("\0")[0])
    return current(service) if "current" in python.parts else python.parts[-3]


def test_a_version_that_does_not_start_at_all_changes_nothing(running: Service) -> None:
    pid, version = running.pid, current(running)
    broken = checkout(running, "broken-at-all", BROKEN_AT_ALL)
    output = running.installer("install", "--python", PYTHON_OF_THIS_TEST, checkout=broken, check=False)
    last = output.strip().splitlines()[-1]
    assert "No module named 'no_such_module'" in last
    assert "; nothing was switched; its log: /opt/streamd/versions/0.1.0-" in last
    assert (running.pid, current(running)) == (pid, version)


def test_a_version_that_does_not_start_as_the_service_gives_way_to_the_old_one(running: Service) -> None:
    version = current(running)
    broken = checkout(running, "broken", BROKEN_WITH_STREAMS)
    output = running.installer("install", "--python", PYTHON_OF_THIS_TEST, checkout=broken, check=False)
    last = output.strip().splitlines()[-1]
    assert re.fullmatch(
        rf"streamd: 0\.1\.0-\w{{8}} does not start: this version is broken; {re.escape(version)} runs again; "
        r"the log: journalctl -u streamd -e",
        last,
    ), output
    until("the old one serves", running.serves, START_S)
    assert (current(running), running_version(running)) == (version, version)
    assert not running.machine.live(str(unit.TRIAL)).exists()
    assert running.installer("status").splitlines()[0].startswith(f"version: {version}, in ")


def built(service: Service) -> bool:
    """A version beside the current one."""
    return any((service.machine.disk / "opt/streamd/versions").glob("0.1.0.post0-*/pyvenv.cfg"))


def tried_apart(service: Service) -> bool:
    return any((service.machine.disk / "opt/streamd/versions").glob("*/build/log"))


def tried(service: Service) -> bool:
    return service.machine.live(str(unit.TRIAL)).exists() and service.show("ActiveState") != "active"


MOMENTS: list[Callable[[Service], bool]] = [built, tried_apart, tried]


@pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: moment.__name__)
def test_killed_in_the_middle_the_old_version_runs_on(running: Service, moment: Callable[[Service], bool]) -> None:
    pid, version = running.pid, current(running)
    version_line = (NEXT[0], NEXT[1], f'__version__ = "0.1.0.post{MOMENTS.index(moment)}"')
    broken = checkout(running, moment.__name__, BROKEN_WITH_STREAMS, version_line)
    with running.start_installer("--python", PYTHON_OF_THIS_TEST, checkout=broken) as outside:
        until("it is there", lambda: moment(running), START_S)
        children = Path(f"/proc/{outside.pid}/task/{outside.pid}/children").read_text().split()
        os.kill(int(children[0]), signal.SIGKILL)
    if moment is tried:
        until("the old one serves", running.serves, START_S)
    assert running.serves()
    assert (running.pid == pid) is (moment is not tried)
    assert (current(running), running_version(running)) == (version, version)


def test_a_version_that_works_takes_over_and_can_be_left_again(running: Service) -> None:
    """After all that was killed before."""
    old = current(running)
    output = running.installer("install", "--python", PYTHON_OF_THIS_TEST, checkout=checkout(running, "next", NEXT))
    new = current(running)
    assert new.startswith("0.1.1-")
    assert f"starting {new} in place of {old}" in output
    until("it serves", running.serves, START_S)
    assert running_version(running) == new
    assert {path.name for path in (running.machine.disk / "opt/streamd/versions").iterdir()} == {old, new}
    assert running.machine.run("/usr/local/bin/streamd", "--version").strip() == "streamd 0.1.1"
    output = running.machine.run("/usr/local/bin/streamd", "service", "install", "--rollback", within_s=START_S)
    assert f"starting {old} in place of {new}" in output
    until("it serves", running.serves, START_S)
    assert (current(running), running_version(running)) == (old, old)
    running.machine.run("systemctl", "restart", "streamd", within_s=START_S)
    until("it serves", running.serves, START_S)
    assert running_version(running) == old


def test_all_versions_are_uninstalled(running: Service) -> None:
    running.installer("uninstall", "--purge")
    assert not (running.machine.disk / "opt/streamd").exists()
