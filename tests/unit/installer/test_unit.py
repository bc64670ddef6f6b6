from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from streamd.installer import package, unit

TEXT = package.shipped("systemd/streamd.service").read_text()
OLD = TEXT.replace("/opt/streamd/current/", "/opt/streamd/.venv/")
"""Of 0.1.0."""


@pytest.mark.parametrize("text", [TEXT, OLD])
def test_the_unit_goes_through_the_link(text: str) -> None:
    made = unit.render(text, Path("/srv/streamd/current"), None)
    assert [line for line in made.splitlines() if line.startswith("ExecStart")] == [
        "ExecStart=/srv/streamd/current/bin/python -m streamd run --config /etc/streamd/streamd.toml"
    ]


def test_the_unit_names_groups_that_exist() -> None:
    assert "\nSupplementaryGroups=video render\n" in unit.render(TEXT, Path("/x"), None)
    assert "\nSupplementaryGroups=video\n" in unit.render(TEXT, Path("/x"), {"root", "video"})
    assert "\nSupplementaryGroups=" not in unit.render(TEXT, Path("/x"), {"root"})


def test_groups(tmp_path: Path) -> None:
    (tmp_path / "group").write_text("root:x:0:\nvideo:x:44:me\n")
    assert unit.groups(tmp_path / "group") == {"root", "video"}
    assert unit.groups(tmp_path / "none") is None


def test_the_first_start_of_a_trial_takes_the_new_version_the_next_the_old_one(tmp_path: Path) -> None:
    for name in ("new", "current"):
        (tmp_path / name / "bin").mkdir(parents=True)
        (tmp_path / name / "bin/python").write_text(f'#!/bin/sh\necho {name} "$@"\nexit 3\n')
        (tmp_path / name / "bin/python").chmod(0o755)
    text = unit.render(TEXT, tmp_path / "current", None)
    drop_in = unit.trial(unit.command(text), tmp_path / "new/bin/python", "ab12")
    start = drop_in.partition("ExecStart=\nExecStart=")[2].partition("\nRuntime")[0]
    outputs = []
    for _ in range(3):
        environment = {**os.environ, "RUNTIME_DIRECTORY": str(tmp_path)}
        command = ["/bin/sh", "-c", start.replace("$$", "$")]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        outputs.append(done.stdout)
        assert (done.returncode, done.stderr) == (3, "")
    arguments = "-m streamd run --config /etc/streamd/streamd.toml\n"
    assert outputs == [f"new {arguments}", f"current {arguments}", f"current {arguments}"]
