from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.installing import REPOSITORY


def test_it_needs_nothing_but_python(tmp_path: Path) -> None:
    """Not even what streamd depends on: `make install` runs it before anything is installed."""
    command = [sys.executable, "-S", "-B", "-m", "streamd.installer", "uninstall", "--root", str(tmp_path)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "not installed: nothing to remove\n", "")
    assert not (tmp_path / "opt/streamd").exists()
