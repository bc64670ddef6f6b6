"""Where the configuration comes from, what goes before what, and how its faults are reported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from streamd.config.load import load
from streamd.errors import ConfigError
from tests.support.settings import NETWORKS


def problems(data: dict[str, Any], environment: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(None, environment=environment or {}, overrides=data)
    return str(caught.value).splitlines()


def test_all_problems_are_reported_at_once() -> None:
    bad = {
        "server": {"listen": "nowhere"},
        "model": {"name": "x", "timeout_s": -1},
        "streams": {"a": {"source": "demo:", "loop": "x"}, "b": {"soruce": "demo:"}},
        "bogus": 1,
    }
    reported = [line.split(": ")[0] for line in problems(bad)]
    assert sorted(reported) == sorted(
        [
            "server.listen",
            "model.name",
            "model.timeout_s",
            "streams.a.loop",
            "streams.b.source",
            "streams.b.soruce",
            "bogus",
        ]
    )


def test_no_password_and_no_flood_in_a_message() -> None:
    (line,) = problems({"streams": {"cam": {"source": "demo:", "transport": "rtsp://u:hunter2@h/" + "x" * 500}}})
    assert "hunter2" not in line
    assert len(line) < 200
    assert problems({"model": {"name": "a\nb"}}) == [f"model.name: a b: {NETWORKS}"]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"[model\n", "{}: is not TOML: Expected ']' at the end of a table declaration (at line 1, column 7)"),
        (b"\xff\xfe", "{}: is not UTF-8 text"),
        (None, "{}: cannot be read: No such file or directory"),
    ],
)
def test_files_that_cannot_be_read(tmp_path: Path, content: bytes | None, line: str) -> None:
    file = tmp_path / "streamd.toml"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load(file, environment={})
    assert str(caught.value) == line.format(file)


def test_a_file_that_is_there_wins_over_what_its_name_looks_like(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("udp:x").touch()
    Path("c.toml").write_text(
        'streams.a.source = "udp:x"\nstreams.b.source = "RTSP://h/x"\nstreams.c.source = "c.toml"\n'
    )
    config = load(Path("c.toml"), environment={})
    assert [stream.source for stream in config.streams.values()] == ["./udp:x", "RTSP://h/x", "c.toml"]


def test_what_has_no_end_is_no_configuration() -> None:
    with pytest.raises(ConfigError, match=r"^/dev/zero: is larger than 4 MB"):
        load(Path("/dev/zero"), environment={})


def test_the_later_wins(tmp_path: Path) -> None:
    file = tmp_path / "streamd.toml"
    file.write_text('[model]\nname = "embedded"\nthreads = 1\ninput_size = 128\n[streams.a]\nsource = "demo:"\n')
    environment = {"STREAMD_MODEL__THREADS": "2", "STREAMD_MODEL__INPUT_SIZE": "192"}
    config = load(file, environment=environment, overrides={"model": {"input_size": 320}, "streams": {}})
    assert (config.model.name, config.model.threads, config.model.input_size) == ("embedded", 2, 320)
    assert set(config.streams) == {"a"}


def test_the_environment_reaches_every_kind_of_key() -> None:
    config = load(
        None,
        environment={
            "STREAMD_SERVER__LISTEN": "127.0.0.1:9",
            "STREAMD_MODEL__DOWNLOAD": "false",
            "STREAMD_MODEL__FALLBACK": "",
            "STREAMD_RECORDING__SEGMENT_SECONDS": "2.5",
            "STREAMD_STREAMS__Porch-2__SOURCE": "rtsp://u:p=[w]#@h/a?b=c",
            "STREAMD_STREAMS__Porch-2__RANGE": "[0.5, 20]",
            "STREAMD_STREAMS__Porch-2__RECORD": '["gray", "rgbd"]',
            "STREAMD_HOME": "/not/a/key",
            "OTHER__KEY": "1",
        },
    )
    assert (config.server.listen, config.model.download, config.model.fallback) == ("127.0.0.1:9", False, "")
    assert config.recording.segment_seconds == 2.5
    stream = config.streams["Porch-2"]
    assert (stream.source, stream.range) == ("rtsp://u:p=[w]#@h/a?b=c", (0.5, 20))
    assert stream.record == ("gray", "rgbd")


@pytest.mark.parametrize(
    ("environment", "line"),
    [
        ({"STREAMD_BOGUS__X": "1"}, "bogus: unknown key; `streamd schema` lists those that exist"),
        (
            {"STREAMD_MODEL__THREADS": "0"},
            "model.threads: 0: should be 'auto', or should be greater than or equal to 1",
        ),
        (
            {"STREAMD_MODEL__NAME": "1", "STREAMD_MODEL__NAME__X": "2"},
            f"model.name: {NETWORKS}",
        ),
    ],
)
def test_a_bad_environment_is_reported_as_a_bad_file_is(environment: dict[str, str], line: str) -> None:
    assert problems({}, environment) == [line]
