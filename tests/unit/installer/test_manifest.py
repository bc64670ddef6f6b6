from __future__ import annotations

import json
from pathlib import Path

import pytest

from streamd.errors import StreamdError
from streamd.installer.manifest import Manifest


def test_what_was_written_is_read(tmp_path: Path) -> None:
    manifest = Manifest.read(tmp_path / "manifest.json")
    assert manifest.made == {}
    manifest.add(Path("/opt/streamd"), "directory")
    manifest.add(Path("/opt/streamd/current"), "link")
    manifest.changed("unit")
    manifest.changed("unit")
    again = Manifest.read(manifest.file)
    assert (again.made, again.pending) == ({"/opt/streamd": "directory", "/opt/streamd/current": "link"}, ["unit"])
    again.all_started()
    assert Manifest.read(manifest.file).pending == []


def test_that_of_0_1_0_is_read(tmp_path: Path) -> None:
    content = {"made": {"/opt/streamd/.venv": "tree"}, "fingerprint": "a b", "pending": [], "version": "0.1.0"}
    (tmp_path / "manifest.json").write_text(json.dumps(content))
    assert Manifest.read(tmp_path / "manifest.json").fingerprint == "a b"


def test_a_damaged_one_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(StreamdError, match=r"manifest\.json: cannot be read as a manifest: "):
        Manifest.read(tmp_path / "manifest.json")
