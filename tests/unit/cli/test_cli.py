"""The command line: what it understands, and how it refuses."""

from __future__ import annotations

import pytest

from streamd import __version__
from streamd.cli import check
from tests.support.commands import outcome

COMMANDS = ("run", "convert", "depth", "models", "bench", "check", "doctor", "service", "schema")

pytestmark = pytest.mark.usefixtures("logging_restored")


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome(*([command] if command else []), "--help") == 0
    out, err = capsys.readouterr()
    assert out.startswith("usage: streamd")
    assert err == ""
    if not command:
        assert all(name in out for name in COMMANDS)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome("--version") == 0
    assert capsys.readouterr().out == f"streamd {__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nonsense"],
        ["convert", "in.mp4"],
        ["convert", "in.mp4", "out.mp4", "--view", "upside-down"],
        ["convert", "in.mp4", "out.mp4", "--model", "gpt"],
        ["depth", "in.jpg"],
        ["depth", "in.jpg", "--output", "out.txt"],
        ["depth", "in.jpg", "--output", "out.png", "--format", "gif"],
        ["models"],
        ["models", "fetch"],
        ["models", "fetch", "gpt"],
        ["models", "fetch", "embedded"],
        ["models", "import", "midas_small"],
        ["models", "dance"],
        ["check"],
        ["doctor", "now"],
        ["run", "--nonsense"],
        ["run", "--runtime", "cuda"],
        ["run", "rtsp://[bad/"],
    ],
    ids=" ".join,
)
def test_usage_errors_are_one_line_and_exit_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome(*arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("streamd")
    assert err.count("\n") == 1


def test_ctrl_c(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(check, "load", interrupted)
    assert outcome("check", "x") == 130
    assert capsys.readouterr().err == ""
