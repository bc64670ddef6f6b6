from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

from streamd.installer.commands import error_line, run_command

REPOSITORY = Path(__file__).parents[3]


def test_a_command_that_is_not_there_fails_like_any_other() -> None:
    done = run_command(["/no/such/command"])
    assert (done.returncode, done.stderr) == (127, "/no/such/command: No such file or directory")


def test_the_error_is_found_among_hints() -> None:
    assert error_line("ERROR: one\nERROR: two\n\nhint: try\n") == "ERROR: two"
    assert error_line("Traceback\nOSError: gone\n") == "OSError: gone"
    assert error_line("") == ""


def test_a_child_ends_with_an_installer_that_is_killed(tmp_path: Path) -> None:
    """Else pip would go on in a folder that the next installation removes."""
    script = f"""
        from streamd.installer.commands import run_command
        run_command(["sh", "-c", "echo $$ > {tmp_path}/new; mv {tmp_path}/new {tmp_path}/pid; exec sleep 60"])
    """
    with subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], cwd=REPOSITORY) as installer:
        while not (tmp_path / "pid").exists():
            assert installer.poll() is None
        child = Path("/proc", (tmp_path / "pid").read_text().strip())
        installer.kill()
    while child.exists() and "\nState:\tZ" not in (child / "status").read_text():
        pass
