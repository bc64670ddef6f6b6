from __future__ import annotations

import shutil

import pytest

from streamd.errors import StreamdError
from tests.support.installing import UNIT, Box
from tests.support.killing import killed, steps
from tests.unit.installer.conftest import Code


def record_something(box: Box) -> None:
    """As the service would."""
    for folder in ("lib", "cache"):
        (box.root / f"var/{folder}/private/streamd").mkdir(parents=True)
        (box.root / f"var/{folder}/private/streamd/file").touch()
        (box.root / f"var/{folder}/streamd").symlink_to("private/streamd")


def test_leaves_nothing_but_what_is_worth_keeping(live: Box, code: Code) -> None:
    before = live.everything()
    live.install()
    code("second00")
    live.install()
    record_something(live)
    live.uninstall()
    left = live.everything() - before - {"var/lib/private", "var/cache/private"}
    assert left == {
        "etc/streamd",
        "etc/streamd/streamd.toml",
        "etc/streamd/secrets",
        "var/lib/streamd",
        "var/lib/private/streamd",
        "var/lib/private/streamd/file",
    }
    assert live.reports[-1] == "removed; kept /etc/streamd and /var/lib/streamd, which `uninstall --purge` removes"
    live.uninstall()
    assert live.reports[-1] == "not installed: nothing to remove"
    live.uninstall(purge=True)
    assert live.everything() - before == {"var/lib/private", "var/cache/private"}


def test_what_others_put_beside_it_stays(live: Box, code: Code) -> None:
    live.install()
    (live.root / "opt/streamd/notes.txt").write_text("mine")
    (live.root / f"{UNIT}.d").mkdir()
    live.uninstall(purge=True)
    assert live.text("opt/streamd/notes.txt") == "mine"
    assert (live.root / f"{UNIT}.d").exists()


def test_what_was_cut_short_can_be_removed(box: Box, code: Code) -> None:
    before = box.everything()
    box.fails["pip install"] = (1, "no network")
    with pytest.raises(StreamdError):
        box.install()
    box.uninstall()
    assert box.everything() == before


def test_killed_at_any_step_it_can_be_repeated(live: Box, code: Code) -> None:
    before = live.everything()
    live.install()
    shutil.copytree(live.root, template := live.root.with_name("template"), symlinks=True)
    lines = steps(live, live.uninstall)
    assert len(lines) > 10
    for line in lines:
        shutil.rmtree(live.root)
        shutil.copytree(template, live.root, symlinks=True)
        killed(live, line, live.uninstall)
        live.uninstall(purge=True)
        assert live.everything() == before, f"killed before line {line}"
