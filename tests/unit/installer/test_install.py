from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from streamd.errors import ConfigError, StreamdError, UsageError
from tests.support.installing import PREFIX, REPOSITORY, UNIT, Box
from tests.support.killing import killed, steps
from tests.unit.installer.conftest import Code

FIRST, SECOND, THIRD = (f"0.1.0-{name}" for name in ("first000", "second00", "third000"))


@pytest.fixture
def upgradable(live: Box, code: Code) -> Box:
    """The first version runs, the second is about to be installed."""
    live.install()
    code("second00")
    return live


# -- the files --------------------------------------------------------------------------------


def test_puts_everything_in_place(box: Box, code: Code) -> None:
    box.install(torch="https://torch.example/cpu")
    home = box.root / f"opt/streamd/versions/{FIRST}"
    assert f"ExecStart={PREFIX}/current/bin/python -m streamd run --config /etc/streamd/streamd.toml\n" in box.text(
        UNIT
    )
    assert "SupplementaryGroups=video\n" in box.text(UNIT)
    assert os.readlink(box.root / "opt/streamd/current") == f"versions/{FIRST}"
    assert box.text("etc/streamd/streamd.toml") == (REPOSITORY / "systemd/streamd.toml").read_text()
    assert (box.root / "etc/streamd/secrets").stat().st_mode & 0o777 == 0o700
    assert os.readlink(box.root / "usr/local/bin/streamd") == f"{PREFIX}/current/bin/streamd"
    assert box.count(f"{home}/bin/python -I -m streamd check {box.root}/etc/streamd/streamd.toml") == 1
    assert [line for line in box.ran if "systemctl" in line] == [f"systemctl --root={box.root} enable streamd.service"]
    assert box.reports[-1] == f"laid out below {box.root}; it starts with that machine"


def test_a_second_time_changes_nothing(live: Box, code: Code) -> None:
    live.install()
    before = {path: (live.root / path).lstat().st_mtime_ns for path in sorted(live.everything())}
    live.ran.clear()
    live.install()
    assert live.count("pip") == live.count("-m venv") == live.count("restart") == 0
    assert "running already, nothing has changed" in live.reports
    assert live.everything() == set(before)
    changed = {path for path, moment in before.items() if (live.root / path).lstat().st_mtime_ns != moment}
    written = {"opt/streamd", "opt/streamd/manifest.json", "opt/streamd/current", "usr/local/bin"}
    assert changed <= written | {"usr/local/bin/streamd"}


def test_an_upgrade_keeps_the_configuration(box: Box, code: Code) -> None:
    box.install()
    (box.root / "etc/streamd/streamd.toml").write_text("# mine\n")
    code("second00")
    box.install()
    assert box.text("etc/streamd/streamd.toml") == "# mine\n"


def test_the_service_can_read_what_it_needs(box: Box, code: Code) -> None:
    box.install()
    assert all((box.root / path).stat().st_mode & 0o044 for path in ("etc/streamd/streamd.toml", UNIT))


def test_another_command_of_that_name_stays(box: Box, code: Code) -> None:
    place = box.root / "usr/local/bin/streamd"
    place.write_text("another")
    box.install()
    assert any("is there already and not ours" in line for line in box.reports)
    box.uninstall(purge=True)
    assert place.read_text() == "another"


# -- versions side by side --------------------------------------------------------------------


def test_an_upgrade_is_built_beside_the_running_version(upgradable: Box, code: Code) -> None:
    upgradable.ran.clear()
    upgradable.install()
    assert upgradable.count(f"versions/{SECOND}/bin/python -m pip install") == 2
    assert not [line for line in upgradable.ran if "pip" in line and FIRST in line]
    assert (upgradable.current(), upgradable.running()) == (SECOND, SECOND)
    assert os.readlink(upgradable.root / "opt/streamd/previous") == f"versions/{FIRST}"
    code("third000")
    upgradable.install()
    assert upgradable.versions() == {SECOND, THIRD}
    assert upgradable.running() == THIRD


def test_the_older_code_again_needs_no_build(upgradable: Box, code: Code) -> None:
    upgradable.install()
    code("first000")
    upgradable.ran.clear()
    upgradable.install()
    assert upgradable.count("pip") == 0
    assert upgradable.running() == FIRST


@pytest.mark.parametrize("step", ["-m venv", "run.lock", "no-build-isolation", "sync"])
def test_a_version_that_cannot_be_built_changes_nothing(upgradable: Box, step: str) -> None:
    unit = upgradable.text(UNIT)
    upgradable.fails[step] = (1, "ERROR: something\nERROR: No matching distribution\n\nhint: try\n")
    upgradable.ran.clear()
    with pytest.raises(StreamdError, match=r": ERROR: No matching distribution$"):
        upgradable.install()
    assert (upgradable.current(), upgradable.running(), upgradable.text(UNIT)) == (FIRST, FIRST, unit)
    assert upgradable.count("restart") == 0
    upgradable.fails.clear()
    upgradable.install()
    assert upgradable.running() == SECOND
    assert upgradable.versions() == {FIRST, SECOND}


def test_a_version_that_fails_its_first_start_changes_nothing(upgradable: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Box, interpreter: Path, folder: Path) -> None:
        raise StreamdError("the new version does not run: ImportError")

    monkeypatch.setattr(Box, "try_start", fail)
    with pytest.raises(StreamdError, match="does not run: ImportError"):
        upgradable.install()
    assert (upgradable.current(), upgradable.running(), upgradable.count("restart")) == (FIRST, FIRST, 1)


def test_a_configuration_that_the_new_version_refuses_changes_nothing(upgradable: Box) -> None:
    output = "streamd: server.listen: here: not HOST:PORT\nstreamd: streams.door.source: is required\n"
    upgradable.fails["streamd check"] = (78, output)
    with pytest.raises(ConfigError) as caught:
        upgradable.install()
    assert str(caught.value).splitlines() == ["server.listen: here: not HOST:PORT", "streams.door.source: is required"]
    assert upgradable.running() == FIRST
    upgradable.fails.clear()
    upgradable.ran.clear()
    upgradable.install()
    assert upgradable.count("pip") == 0, "it was built already"
    assert upgradable.running() == SECOND


def test_an_environment_that_does_not_run_streamd(box: Box, code: Code) -> None:
    box.fails["streamd check"] = (1, "Traceback\nModuleNotFoundError: No module named 'av'\n")
    with pytest.raises(StreamdError, match="does not work: ModuleNotFoundError: No module named 'av'"):
        box.install()


def test_one_whose_python_is_gone_is_built_anew(live: Box, code: Code) -> None:
    live.install()
    live.fails[f"{FIRST}/bin/python -I -c"] = (127, "no such file")
    live.install()
    assert live.current() == f"{FIRST}.2"
    assert live.running() == f"{FIRST}.2"


def test_the_environment_of_0_1_0_becomes_a_version(live: Box, code: Code) -> None:
    code("second00")
    live._make_environment(live.root / "opt/streamd/.venv")
    shipped = (REPOSITORY / "systemd/streamd.service").read_text()
    unit = shipped.replace("/opt/streamd/current/", "/opt/streamd/.venv/")
    (live.root / UNIT).write_text(unit)
    manifest = live.machine.manifest()
    manifest.fingerprint = "old needs"
    for path, kind in (
        ("/opt/streamd", "directory"),
        ("/opt/streamd/.venv", "tree"),
        ("/usr/local/bin/streamd", "link"),
    ):
        manifest.add(Path(path), kind)
    (live.root / "usr/local/bin/streamd").symlink_to("/opt/streamd/.venv/bin/streamd")
    live._systemctl(["daemon-reload"])
    live._systemctl(["restart"])
    assert live.running() == ".venv"
    live.install()
    assert live.running() == SECOND
    assert os.readlink(live.root / "opt/streamd/previous") == ".venv"
    assert os.readlink(live.root / "usr/local/bin/streamd") == "/opt/streamd/current/bin/streamd"
    live.roll_back()
    assert (live.running(), live.current()) == (".venv", ".venv")
    live.install()
    code("third000")
    live.install()
    assert os.readlink(live.root / "opt/streamd/.venv") == "current", "a drop-in of the user may name it"
    live.install()
    live.uninstall(purge=True)
    assert not (live.root / "opt/streamd").exists()


def test_a_version_that_runs_is_not_removed_though_its_installer_was_killed(upgradable: Box, code: Code) -> None:
    upgradable.install()
    for name, version in (("current", FIRST), ("previous", FIRST)):
        (upgradable.root / "opt/streamd" / name).unlink()
        (upgradable.root / "opt/streamd" / name).symlink_to(f"versions/{version}")
    cmdline = upgradable.root / "proc/4242/cmdline"
    cmdline.write_text(cmdline.read_text().replace("current", f"versions/{SECOND}"))
    code("third000")
    upgradable.fails["run.lock"] = (1, "ERROR: no network")
    with pytest.raises(StreamdError):
        upgradable.install()
    assert SECOND in upgradable.versions()


# -- environments of others -------------------------------------------------------------------


def test_uses_a_given_environment_and_leaves_it(box: Box, code: Code) -> None:
    box.install()
    (box.root / "srv/env/bin").mkdir(parents=True)
    (box.root / "srv/env/bin/python").touch()
    box.ran.clear()
    box.install(environment=Path("/srv/env"))
    assert box.count("pip") == 0
    assert os.readlink(box.root / "opt/streamd/current") == "/srv/env"
    assert os.readlink(box.root / "opt/streamd/previous") == f"versions/{FIRST}"
    box.uninstall(purge=True)
    assert (box.root / "srv/env/bin/python").exists()


def test_a_given_environment_that_is_none(box: Box) -> None:
    with pytest.raises(UsageError, match="/srv/none: is no Python environment"):
        box.install(environment=Path("/srv/none"))


def test_the_environment_that_runs_this_is_not_rebuilt(live: Box, monkeypatch: pytest.MonkeyPatch, code: Code) -> None:
    live.install()
    monkeypatch.setattr(sys, "prefix", str(live.root / f"opt/streamd/versions/{FIRST}"))
    code("by-hand0")
    live.ran.clear()
    live.install()
    assert f"environment: {PREFIX}/versions/{FIRST}, which runs this command" in live.reports
    assert live.count("pip") == live.count("-m venv") == 0
    assert live.count("restart") == 1, "its code has changed"


# -- going back -------------------------------------------------------------------------------


def test_goes_back_and_forth(upgradable: Box) -> None:
    with pytest.raises(StreamdError, match="no version to go back to"):
        upgradable.roll_back()
    upgradable.install()
    for expected in (FIRST, SECOND, FIRST):
        upgradable.roll_back()
        assert (upgradable.running(), upgradable.current()) == (expected, expected)
        assert upgradable.versions() == {FIRST, SECOND}


def test_does_not_go_back_to_what_does_not_work(upgradable: Box) -> None:
    upgradable.install()
    upgradable.fails[f"{FIRST}/bin/python -I -c"] = (127, "no such file")
    with pytest.raises(StreamdError, match=f"{FIRST} does not work any more: no such file"):
        upgradable.roll_back()
    assert upgradable.running() == SECOND


# -- killed anywhere --------------------------------------------------------------------------


@pytest.mark.parametrize(("act", "starts"), [("install", True), ("install", False), ("roll_back", False)])
def test_killed_at_any_step_it_leaves_a_working_service(upgradable: Box, code: Code, act: str, starts: bool) -> None:
    box = upgradable
    if act == "roll_back":
        box.install()
        if not starts:
            (box.root / f"opt/streamd/versions/{FIRST}/does-not-start").touch()
    box.next_starts = starts
    template = box.root.with_name("template")
    shutil.copytree(box.root, template, symlinks=True)

    def restore(folder: Path) -> None:
        shutil.rmtree(box.root)
        shutil.copytree(folder, box.root, symlinks=True)

    good = {FIRST, SECOND} if starts else {box.running()}
    lines = steps(box, getattr(box, act))
    assert len(lines) > 20
    for line in lines:
        restore(template)
        killed(box, line, getattr(box, act))
        assert box.running() in good, f"killed before line {line}"
        shutil.copytree(box.root, left := template.with_name(str(line)), symlinks=True)
        box.power_cut()
        assert box.running() in good, f"power cut before line {line}"
        restore(left)
        box._systemctl(["restart"])
        assert box.running() in good, f"killed before line {line}, and restarted"
        box.next_starts = True
        code("third000")
        box.install()
        assert (box.running(), box.current()) == (THIRD, THIRD), f"killed before line {line}"
        assert len(box.versions()) == 2
        assert not (box.root / "run/systemd/system/streamd.service.d").exists()
        box.uninstall(purge=True)
        assert not (box.root / "opt/streamd").exists()
        code("second00")
        box.next_starts = starts
