"""`streamd check`: all problems at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.commands import outcome
from tests.support.settings import NETWORKS

NO_SRT = "PyAV's FFmpeg has no SRT: let the camera send RTSP, or a relay between"

pytestmark = pytest.mark.usefixtures("logging_restored")


@pytest.mark.parametrize(
    ("content", "code", "out", "err"),
    [
        ('[streams.a]\nsource = "demo:"\n', 0, "{}: good: 1 stream\n", ""),
        ("", 0, "{}: good: 0 streams\n", ""),
        (
            '[model]\nname = "x"\n[bogus]\n',
            78,
            "",
            f"streamd: model.name: x: {NETWORKS}\n"
            "streamd: bogus: unknown key; `streamd schema` lists those that exist\n",
        ),
        (
            "[model\n",
            78,
            "",
            "streamd: {}: is not TOML: Expected ']' at the end of a table declaration (at line 1, column 7)\n",
        ),
        ('[streams.a]\nsource = "srt://h:9000"\n', 78, "", f"streamd: streams.a.source: srt://h:9000: {NO_SRT}\n"),
    ],
    ids=["one stream", "none", "two problems", "broken", "a protocol that FFmpeg lacks"],
)
def test_check(tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, code: int, out: str, err: str) -> None:
    file = tmp_path / "streamd.toml"
    file.write_text(content)
    assert outcome("check", str(file)) == code
    output = capsys.readouterr()
    assert output.out == out.format(file)
    assert output.err == err.format(file)
