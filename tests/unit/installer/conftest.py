"""Machines to install on."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from streamd.installer import package
from streamd.installer.machine import Machine
from tests.support.installing import Box

Code = Callable[[str], None]


@pytest.fixture
def box(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Box:
    """A Debian without graphics, that is laid out below a folder."""
    root = tmp_path / "root"
    for folder in ("etc/systemd/system", "usr/local/bin", "opt", "var/lib", "var/cache", "run", "proc"):
        (root / folder).mkdir(parents=True)
    (root / "etc/group").write_text("root:x:0:\nvideo:x:44:\n")
    (root / "systemd.json").write_text('{"start": "false", "keeps": false}')
    monkeypatch.setattr(os, "fsync", lambda handle: None)
    monkeypatch.setattr(package, "source", lambda: "streamd==0.1.0")
    return Box(root)


@pytest.fixture
def live(box: Box, monkeypatch: pytest.MonkeyPatch) -> Box:
    """The machine that runs."""
    monkeypatch.setattr(Machine, "live", True)
    return box


@pytest.fixture
def code(monkeypatch: pytest.MonkeyPatch) -> Code:
    """Call it to install other code than before."""
    now = ["first000"]
    monkeypatch.setattr(package, "fingerprint", lambda: f"{now[0]} lock")

    def change(fingerprint: str) -> None:
        now[0] = fingerprint

    return change
