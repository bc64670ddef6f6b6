from __future__ import annotations

from pathlib import Path

import pytest

from streamd.errors import StreamdError
from streamd.installer.machine import Machine
from tests.support.installing import Box


def test_two_installations_do_not_meet(box: Box) -> None:
    with box.machine.locked():
        with pytest.raises(StreamdError, match=r"^another installation is at work in /opt/streamd: try again later$"):
            box.install()
        with pytest.raises(StreamdError, match="another installation"):
            box.uninstall()
    assert not (box.root / "opt/streamd").exists()
    box.install()


def test_a_command_that_fails_is_one_line(box: Box) -> None:
    box.fails["pip"] = (1, "a line\nERROR: the reason\n")
    with pytest.raises(StreamdError, match=r"^installing: ERROR: the reason$"):
        box.machine.run_checked("pip", "install", doing="installing")


def test_paths_lie_below_the_root() -> None:
    assert Machine(Path("/mnt")).place(Path("/etc/group")) == Path("/mnt/etc/group")
    assert Machine(Path("/mnt")).systemctl_root == ("--root=/mnt",)
    assert Machine().systemctl_root == ()
