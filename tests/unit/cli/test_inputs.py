"""Files that commands take, and what they refuse to take for one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.commands import outcome

pytestmark = pytest.mark.usefixtures("logging_restored")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["depth", "{}/none.jpg", "--output", "{}/o.png"], "streamd: {}/none.jpg: no such file or directory\n"),
        (["depth", "{}", "--output", "{}/o.png"], "streamd: {}: is a directory\n"),
        (["models", "import", "midas_small", "{}/none.pt"], "streamd: {}/none.pt: no such file or directory\n"),
    ],
)
def test_files_that_cannot_be_read(
    arguments: list[str], line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert outcome(*(argument.format(tmp_path) for argument in arguments)) == 1
    assert capsys.readouterr().err == line.format(tmp_path)


@pytest.mark.parametrize("source", ["/dev/zero", "/dev/video99", "demo:", "lavfi:testsrc2", "RTSP://u:hunter2@h/x"])
@pytest.mark.parametrize("command", ["convert", "depth"])
def test_what_is_no_file_is_for_run(command: str, source: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome(command, source, *(["--output"] if command == "depth" else []), "out.png") == 2
    line = f"streamd: {source.replace('u:hunter2', '***')}: is no file: `streamd run` takes cameras and addresses\n"
    assert capsys.readouterr().err == line
