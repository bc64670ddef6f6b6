"""The command line: what it understands, and how it refuses."""

from __future__ import annotations

import errno
import json
import os
import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from streamd import __version__, cli, doctor
from streamd.cli import _named, main
from streamd.config.sections import STREAM_NAME, StreamConfig
from streamd.depth.models import MODELS
from streamd.depth.store import ModelStore, Receipt
from streamd.doctor.finding import Finding, Status
from streamd.errors import StreamdError
from streamd.host.whole_file import WholeFile
from tests.support.settings import NETWORKS

NO_SRT = "PyAV's FFmpeg has no SRT: let the camera send RTSP, or a relay between"
COMMANDS = ("run", "convert", "depth", "models", "check", "doctor", "schema")


pytestmark = pytest.mark.usefixtures("logging_restored")


def outcome(*arguments: str) -> int:
    """The exit code, however it comes."""
    try:
        return main(list(arguments))
    except SystemExit as ended:
        return int(ended.code or 0)


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("demo:", "demo"),
        ("/videos/My clip (1).mp4", "My-clip-1"),
        ("clip.tar.mp4", "clip.tar"),
        ("/dev/video0", "video0"),
        ("v4l2:/dev/v4l/by-id/usb-Cam-index0", "usb-Cam-index0"),
        ("lavfi:testsrc2=size=64x64:rate=5", "lavfi-testsrc2"),
        ("rtsp://10.0.0.5:554/Streaming/Channels/101", "10.0.0.5-Streaming-Channels-101"),
        ("видео.mp4", "stream"),
        ("..", "stream"),
        ("-.mp4", "stream"),
        ("x" * 99, "x" * 48),
    ],
)
def test_a_source_has_a_short_name(source: str, name: str) -> None:
    assert _named([source]) == {name: source}


def test_sources_of_one_name_get_different_names() -> None:
    assert list(_named(["a/x.mp4", "b/x.mp4", "c/x.mp4"])) == ["x", "x-2", "x-3"]


@pytest.mark.parametrize(
    "source",
    [
        "rtsp://admin:hunter2@cam/live",
        "rtsp://admin:hun/ter2@cam/live",
        "http://cam/live?token=hunter2",
        "rtsp://cam/user=admin_password=hunter2_channel=1",
    ],
)
def test_a_name_shows_no_password(source: str) -> None:
    (name,) = _named([source])
    assert "ter2" not in name
    assert name.startswith("cam")


def test_every_name_is_one_that_the_configuration_takes() -> None:
    for source in ("a b", "ä", "_x", ".hidden", "http://[::1]/a?b", "x" * 200, "rtsp://u:p@h", "/"):
        (name,) = _named([source])
        assert re.fullmatch(STREAM_NAME, name), (source, name)


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


def test_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome("schema") == 0
    assert "[streams.NAME]" in capsys.readouterr().out
    assert outcome("schema", "--json") == 0
    assert json.loads(capsys.readouterr().out)["title"] == "Config"


class TestDoctor:
    @pytest.fixture
    def finds(self, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
        """What the doctor finds on this machine."""

        def finds(*statuses: Status) -> None:
            findings = [Finding(f"check{n}", status, "something") for n, status in enumerate(statuses)]
            monkeypatch.setattr(doctor, "examine", lambda config: iter(findings))

        return finds

    @pytest.mark.parametrize(
        ("statuses", "code", "err"),
        [
            (("ok", "warning"), 0, ""),
            (("problem", "ok"), 1, "streamd: doctor: 1 problem\n"),
            (("problem", "problem"), 1, "streamd: doctor: 2 problems\n"),
        ],
    )
    def test_the_exit_code_reports_problems(
        self,
        finds: Callable[..., None],
        capsys: pytest.CaptureFixture[str],
        statuses: tuple[Status, ...],
        code: int,
        err: str,
    ) -> None:
        finds(*statuses)
        assert outcome("doctor") == code
        output = capsys.readouterr()
        assert output.out.splitlines() == [f"{status:8}check{n:<6}something" for n, status in enumerate(statuses)]
        assert output.err == err

    def test_json(self, finds: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
        finds("ok", "problem")
        assert outcome("doctor", "--json") == 1
        assert json.loads(capsys.readouterr().out)["status"] == "problem"

    def test_a_good_configuration(
        self, finds: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        finds("ok")
        file = tmp_path / "streamd.toml"
        file.write_text("")
        assert outcome("doctor", "--config", str(file)) == 0
        assert capsys.readouterr().out.startswith(f"ok      config     {file} is valid\n")

    def test_a_bad_one_is_reported_beside_the_rest(
        self, finds: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        finds("ok")
        file = tmp_path / "streamd.toml"
        file.write_text("[bogus]\n")
        assert outcome("doctor", "--json", "--config", str(file)) == 78
        output = capsys.readouterr()
        assert [each["check"] for each in json.loads(output.out)["findings"]] == ["config", "check0"]
        assert output.err == "streamd: bogus: unknown key; `streamd schema` lists those that exist\n"


def test_models_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome("models", "list") == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert list(lines) == list(MODELS)
    assert "missing: streamd models fetch midas_small" in lines["midas_small"]
    assert " Apache-2.0 " in lines["depth_anything_v2_small"]
    assert "; from https://" in lines["depth_anything_v2_small"]
    assert " non-commercial " in lines["leres_resnet50"]
    assert "streamd models import leres_resnet50 FILE, which is res50.pth of" in lines["leres_resnet50"]
    assert "built in" in lines["embedded"]


def test_who_fetches_is_told_of_the_licence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    installed = Receipt("zipdepth.pth", "ab12", 27_000_000, "", "", True)
    monkeypatch.setattr(ModelStore, "fetch", lambda *_: installed)
    assert outcome("models", "fetch", "zipdepth") == 0
    output = capsys.readouterr()
    assert "distilled from Depth Anything V2 Large, whose weights are CC-BY-NC-4.0" in output.err
    assert output.out == "zipdepth: 27.0 MB, sha256 ab12\n"


def test_who_imports_is_told_of_the_licence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    installed = Receipt("res101.pth", "ab12", 531_000_000, "", "", True)
    monkeypatch.setattr(ModelStore, "import_file", lambda *_: installed)
    assert outcome("models", "import", "leres_resnext101", "res101.pth") == 0
    output = capsys.readouterr()
    assert "for non-commercial use only, not to be passed on" in output.err
    assert output.out == "leres_resnext101: 531.0 MB, sha256 ab12 (the official file)\n"


class TestRun:
    """What `streamd run` makes of its arguments, without running it."""

    @pytest.fixture
    def configs(self, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
        served: list[Any] = []

        async def serve(config: Any, reload: Callable[[], Any]) -> None:
            assert reload() == config
            served.append(config)

        monkeypatch.setattr(cli, "_serve", serve)
        return served

    def test_alone_it_plays_the_demo(self, configs: list[Any]) -> None:
        assert outcome("run") == 0
        assert configs[0].streams == {"demo": StreamConfig(source="demo:")}

    def test_the_command_line_wins_over_the_file(self, configs: list[Any], tmp_path: Path) -> None:
        file = tmp_path / "a.toml"
        file.write_text('[server]\nlisten = "127.0.0.1:1"\n[model]\nname = "embedded"\nprecision = "bf16"\n')
        arguments = ["--listen", "127.0.0.1:0", "--precision", "fp32", "--record", "/rec", "--config", str(file)]
        assert outcome("run", "lavfi:testsrc2", "lavfi:mandelbrot", *arguments) == 0
        config = configs[0]
        assert (config.server.listen, config.model.name, config.model.precision) == ("127.0.0.1:0", "embedded", "fp32")
        assert config.recording.directory == Path("/rec")
        assert list(config.streams) == ["lavfi-testsrc2", "lavfi-mandelbrot"]

    def test_a_file_with_streams_needs_no_source(self, configs: list[Any], tmp_path: Path) -> None:
        (tmp_path / "a.toml").write_text('[streams.porch]\nsource = "rtsp://cam/"\n')
        assert outcome("run", "--config", str(tmp_path / "a.toml")) == 0
        assert list(configs[0].streams) == ["porch"]

    @pytest.mark.parametrize(
        ("name", "content", "reason"),
        [
            ("missing.mp4", None, "not found"),
            ("notes.mp4", b"hello", "is not a video that can be decoded"),
            ("", None, "is a directory, not a video"),
        ],
    )
    def test_a_source_that_cannot_be_is_reported_at_once(
        self,
        configs: list[Any],
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        name: str,
        content: bytes | None,
        reason: str,
    ) -> None:
        file = tmp_path / name
        if content is not None:
            file.write_bytes(content)
        assert outcome("run", str(file)) == 1
        err = capsys.readouterr().err
        assert err == f"streamd: {file}: {reason}\n"
        assert configs == []

    def test_a_protocol_that_ffmpeg_lacks_is_reported_at_once(
        self, configs: list[Any], capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert outcome("run", "srt://h:9000") == 1
        assert capsys.readouterr().err == f"streamd: srt://h:9000: {NO_SRT}\n"
        assert configs == []

    def test_strangers_are_kept_out(self, configs: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
        assert outcome("run", "--listen", "0.0.0.0:8080") == 78
        assert "nobody has to log in" in capsys.readouterr().err


@pytest.mark.parametrize(
    "error", [StreamdError("rtsp://u:hunter2@h/ failed"), RuntimeError("rtsp://u:hunter2@h/\nfailed")]
)
def test_any_failure_is_one_line_without_passwords(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(os, "_exit", sys.exit)  # it means it: threads may be left
    monkeypatch.setattr(cli, "load", fail)
    assert outcome("check", "x") == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "Traceback" not in err
    assert "hunter2" not in err


def test_ctrl_c(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "load", interrupted)
    assert outcome("check", "x") == 130
    assert capsys.readouterr().err == ""


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


def test_a_fault_says_at_what_and_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(os, "_exit", sys.exit)
    monkeypatch.setattr(cli, "_service", lambda *_, **__: [][0])
    (tmp_path / "a\nb.mp4").write_bytes(Path(cli.__file__).with_name("assets").joinpath("demo.mp4").read_bytes())
    assert outcome("convert", str(tmp_path / "a\nb.mp4"), "out.mp4") == 1
    assert capsys.readouterr().err == (
        f"streamd: converting {tmp_path}/a\\nb.mp4 to out.mp4: a fault of streamd's: "
        "IndexError('list index out of range'); please report it with what --debug shows\n"
    )


class TestDepth:
    """What becomes of OUTPUT, without a network."""

    @pytest.fixture(autouse=True)
    def service(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr(cli, "_service", lambda *_, **__: Mock())
        monkeypatch.setattr("streamd.jobs.picture.depth_of_picture", lambda data, *_: data.upper())
        monkeypatch.chdir(tmp_path)
        Path("in.jpg").write_bytes(b"picture")

    def test_a_file_that_was_there_stays_when_the_disk_is_full(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        def full(descriptor: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        Path("out.png").write_bytes(b"precious")
        monkeypatch.setattr(os, "fsync", full)
        assert outcome("depth", "in.jpg", "--output", "out.png") == 1
        assert capsys.readouterr().err == "streamd: out.png: no space left on the disk\n"
        assert Path("out.png").read_bytes() == b"precious"
        assert sorted(os.listdir()) == ["in.jpg", "out.png"]

    def test_from_and_to_any_name(self) -> None:
        for name in ("12:30", "rtsp:x", "a\nb", os.fsdecode(b"\xff"), "y" * 251):
            Path(name).write_bytes(b"picture")
            assert outcome("depth", name, "--output", f"{name}.png") == 0
            assert Path(f"{name}.png").read_bytes() == b"PICTURE"

    def test_through_a_link(self) -> None:
        Path("out.png").symlink_to("target.png")
        assert outcome("depth", "in.jpg", "--output", "out.png") == 0
        assert Path("out.png").is_symlink()
        assert Path("target.png").read_bytes() == b"PICTURE"

    def test_one_at_a_time(self, capsys: pytest.CaptureFixture[str]) -> None:
        with WholeFile("out.png"):
            assert outcome("depth", "in.jpg", "--output", "out.png") == 1
        assert capsys.readouterr().err == (
            f"streamd: out.png: is being written by another streamd (pid {os.getpid()})\n"
        )

    def test_from_a_pipe_to_standard_output(self, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
        os.mkfifo("pipe")
        writer = threading.Thread(target=lambda: Path("pipe").write_bytes(b"picture"))
        writer.start()
        assert outcome("depth", "pipe", "--output", "-", "--format", "png") == 0
        writer.join()
        assert capfdbinary.readouterr().out == b"PICTURE"

    def test_several_into_a_folder(self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        monkeypatch.setattr("streamd.jobs.pictures.depth_of_picture", lambda data, *_: data.upper())
        Path("other.jpg").write_bytes(b"other")
        assert outcome("depth", "in.jpg", "other.jpg", "--output", "out") == 0
        assert {file.name: file.read_bytes() for file in Path("out").iterdir()} == {
            "in.png": b"PICTURE",
            "other.png": b"OTHER",
        }
        assert outcome("depth", "in.jpg", "--output", "out", "--format", "npz") == 0, "a folder, so one goes there too"
        assert outcome("depth", "in.jpg", "--output", "new/", "--format", "npz") == 0
        assert Path("out/in.npz").read_bytes() == Path("new/in.npz").read_bytes() == b"PICTURE"
        assert capfd.readouterr().err == ""

    def test_of_several_those_that_fail_are_told(self, capfd: pytest.CaptureFixture[str]) -> None:
        assert outcome("depth", "gone.jpg", "none.jpg", "--output", "out") == 1
        assert sorted(capfd.readouterr().err.splitlines()) == [
            "streamd: 2 of 2 pictures failed",
            "streamd: gone.jpg: no such file or directory",
            "streamd: none.jpg: no such file or directory",
        ]

    @pytest.mark.parametrize(
        ("output", "line"),
        [
            ("in.jpg", "streamd: in.jpg: is no folder, and there are 2 pictures\n"),
            ("-", "streamd: /dev/stdout: is no folder, and there are 2 pictures\n"),
        ],
    )
    def test_several_need_a_folder(self, output: str, line: str, capsys: pytest.CaptureFixture[str]) -> None:
        assert outcome("depth", "in.jpg", "other.jpg", "--output", output) == 2
        assert capsys.readouterr().err == line
