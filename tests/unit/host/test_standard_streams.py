"""Each in a process of its own: it is about the descriptors 0, 1 and 2."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

SET_UP = "import os, sys; from streamd.host import standard_streams as s; s.set_up(); "


def run(code: str, redirection: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", f'exec "$0" -c "$1" {redirection}', sys.executable, SET_UP + code],
        stdin=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_what_is_closed_leads_nowhere_also_for_children(closed: str) -> None:
    code = (
        "print('out'); print('err', file=sys.stderr); os.read(0, 1);"
        "assert os.open('/', os.O_RDONLY) > 2; assert all(map(os.get_inheritable, (0, 1, 2)))"
    )
    done = run(code, closed)
    assert done.returncode == 0
    assert done.stdout == ("" if ">&-" in closed.replace("2>&-", "") else "out\n")
    assert done.stderr == ("" if "2>&-" in closed else "err\n")


def test_names_that_are_no_text_are_escaped() -> None:
    done = run(r"print('a\udcffb'); print('c\udcffd', file=sys.stderr)")
    assert (done.stdout, done.stderr) == ("a\\udcffb\n", "c\\udcffd\n")


def test_a_full_disk_below_the_output_is_reported() -> None:
    code = "exec('try:\\n  print(1, flush=True)\\nexcept s.OutputLost as e:\\n  s.drop_output(); sys.exit(str(e))')"
    done = run(code, ">/dev/full")
    assert done.returncode == 1
    assert done.stderr == "standard output: no space left on the disk\n"


def test_what_standard_error_does_not_take_is_lost() -> None:
    done = run("print('lost', file=sys.stderr, flush=True); print('on')", "2>/dev/full")
    assert (done.returncode, done.stdout) == (0, "on\n")
