"""Files and variables that a configuration names."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamd import cli
from streamd.config.load import parse
from streamd.doctor.files import files, missing


def lines(**config: object) -> list[tuple[str, bool]]:
    return [(str(each.problem), each.only_here) for each in missing(parse(config))]


def test_nothing_is_missing_by_default() -> None:
    assert lines() == []


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    none = tmp_path / "none"
    assert lines(
        server={"view_tokens": [f"file:{none}"]},
        webrtc={"ice_servers": [{"urls": ["turn:h:1"], "credential": f"file:{none}"}]},
        streams={
            "door": {
                "source": f"rtsp://u:file:{none}@h/",
                "push": ["rtsp://u:p@h/", f"whip://file:{none}@h/", f"rtsp://u:file:{none}@h/"],
            }
        },
    ) == [
        (f"server.view_tokens: cannot read its token from {none}: No such file or directory", False),
        (f"webrtc.ice_servers.0.credential: cannot read its credential from {none}: No such file or directory", False),
        (f"streams.door.source: cannot read its password from {none}: No such file or directory", False),
        (f"streams.door.push.1: cannot read its token from {none}: No such file or directory", False),
        (f"streams.door.push.2: cannot read its password from {none}: No such file or directory", False),
    ]


def test_what_the_service_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the unit knows its variables and credentials."""
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    monkeypatch.delenv("DOOR", raising=False)
    config = {"a": {"source": "rtsp://u:env:DOOR@h/"}, "b": {"source": "rtsp://u:file:secret_door@h/"}}
    assert [only_here for _, only_here in lines(streams=config)] == [True, True]
    assert [each.status for each in files(parse({"streams": config}))] == ["warning", "warning"]


def test_what_the_service_has_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    source = {"b": {"source": "rtsp://u:file:secret_door@h/"}}
    assert [only_here for _, only_here in lines(streams=source)] == [False]
    (tmp_path / "secret_door").write_text("hunter2")
    assert lines(streams=source) == []


def test_certificates(tmp_path: Path) -> None:
    tls = {"tls_certificate": str(tmp_path / "a.pem"), "tls_key": str(tmp_path / "b.pem")}
    ((line, only_here),) = lines(server=tls)
    assert line == f"server.tls_certificate: {tmp_path}/a.pem: cannot be read: No such file or directory"
    assert not only_here


@pytest.mark.usefixtures("logging_restored")
def test_check_reports_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DOOR", raising=False)
    file = tmp_path / "streamd.toml"
    file.write_text(f'[streams.a]\nsource = "rtsp://u:file:{tmp_path}/none@h/"\n')
    assert cli.main(["check", str(file)]) == 78
    assert f"streams.a.source: cannot read its password from {tmp_path}/none" in capsys.readouterr().err
    file.write_text('[streams.a]\nsource = "rtsp://u:env:DOOR@h/"\n')
    assert cli.main(["check", str(file)]) == 0
    output = capsys.readouterr()
    assert "environment variable DOOR with its password is not set here; the service needs it" in output.err
    assert "good: 1 stream" in output.out
