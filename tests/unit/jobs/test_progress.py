from __future__ import annotations

import io

import pytest

from streamd.jobs import progress
from streamd.jobs.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_plain_lines_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    file = io.StringIO()
    with Progress(2, "pictures", file=file) as shown:
        shown.step()
        assert file.getvalue() == ""
    monkeypatch.setattr(progress, "PLAIN_EVERY_S", 0.0)
    with Progress(2, "pictures", file=file) as shown:
        shown.step()
        shown.say("one is bad")
        shown.step()
    with Progress(None, "frames", file=file) as shown:
        shown.step()
    assert file.getvalue() == "1 of 2 pictures\none is bad\n2 of 2 pictures\n1 frames\n"


def test_a_bar_on_a_terminal_which_lines_stand_above() -> None:
    file = Terminal()
    with Progress(2, "pictures", file=file) as shown:
        shown.step()
        shown.say("one is bad")
    written = file.getvalue()
    assert "/2" in written
    assert "one is bad\n" in written


def test_quiet() -> None:
    file = Terminal()
    with Progress(2, "pictures", quiet=True, file=file) as shown:
        shown.step()
    assert file.getvalue() == ""
