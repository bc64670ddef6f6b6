from __future__ import annotations

import os
from pathlib import Path

import pytest

from streamd.installer.versions import Version, Versions
from tests.support.installing import Box


@pytest.fixture
def versions(box: Box) -> Versions:
    return Versions(box.machine, box.machine.manifest())


def built(versions: Versions, fingerprint: str) -> Version:
    version = versions.new(fingerprint)
    version.place.mkdir(parents=True)
    version.complete(f"{fingerprint} lock")
    return version


def test_names_are_free(versions: Versions) -> None:
    names = [built(versions, "0123456789").path.name for _ in range(3)]
    assert [name.partition("-")[2] for name in names] == ["01234567", "01234567.2", "01234567.3"]


def test_only_complete_ones_are_found(versions: Versions) -> None:
    half = versions.new("half")
    half.place.mkdir(parents=True)
    whole = built(versions, "whole")
    assert (versions.find("half lock"), versions.find("whole lock")) == (None, whole)
    (whole.place / "streamd.json").write_text("{")
    assert versions.find("whole lock") is None


def test_what_was_current_becomes_the_one_before(box: Box, versions: Versions) -> None:
    one, two, three = (built(versions, name) for name in ("one", "two", "three"))
    assert (versions.current, versions.previous) == (None, None)
    for version, previous in ((one, None), (one, None), (two, one), (three, two), (two, three)):
        versions.switch(version)
        assert (versions.current, versions.previous) == (version, previous)
    assert os.readlink(box.root / "opt/streamd/current") == f"versions/{two.path.name}", "moves with its folder"


def test_removes_what_nobody_needs(versions: Versions) -> None:
    one, two, three, runs, half = (built(versions, name) for name in ("one", "two", "three", "runs", "half"))
    (half.place / "streamd.json").unlink()
    versions.switch(one)
    versions.switch(two)
    versions.sweep(runs, None)
    assert [version.place.exists() for version in (one, two, three, runs, half)] == [True, True, False, True, False]


def test_half_removed_is_not_complete(versions: Versions, monkeypatch: pytest.MonkeyPatch) -> None:
    version = built(versions, "one")
    monkeypatch.setattr("shutil.rmtree", lambda place, ignore_errors: None)
    version.remove()
    assert versions.find("one lock") is None


def test_an_environment_of_others_stays(box: Box, versions: Versions) -> None:
    (box.root / "srv/env").mkdir(parents=True)
    (box.root / "opt/streamd/.venv").mkdir(parents=True)
    versions.switch(versions.at(Path("/srv/env")))
    versions.sweep()
    assert versions.current == versions.at(Path("/srv/env"))
    assert (box.root / "opt/streamd/.venv").exists(), "it is not in the manifest"


def test_a_python_that_an_upgrade_of_the_system_took_away(box: Box, versions: Versions) -> None:
    version = built(versions, "one")
    (version.place / "pyvenv.cfg").write_text("home = /usr/bin\nversion = 3.11.2\n")
    assert version.fault(box) == ""
    box.fails["import streamd"] = (1, "Traceback\nModuleNotFoundError: No module named 'streamd'\n")
    assert version.fault(box) == "ModuleNotFoundError: No module named 'streamd'"
    box.fails["import streamd"] = (1, "")

    def upgraded(command: list[str], *, watched: bool = False) -> object:
        done = box(command)
        done.stdout = "3.13\n"
        return done

    assert version.fault(upgraded) == "made for Python 3.11, and this machine has 3.13 now"  # type: ignore[arg-type]
