"""What people get wrong: one line on stderr that says so, the right exit code, never a traceback."""

from __future__ import annotations

import json
import pickle
import socket
from pathlib import Path

import pytest

from streamd.config.sections import Config
from tests.e2e.pictures import ffmpeg, make_clip
from tests.e2e.processes import streamd
from tests.support.bombs import photo, saved

FAILED, USAGE, BAD_CONFIG = 1, 2, 78


@pytest.fixture
def garbage(tmp_path: Path) -> Path:
    path = tmp_path / "garbage.mp4"
    path.write_bytes(b"this is no video, no picture and no network\n" * 1000)
    return path


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    """A good file without any video."""
    path = tmp_path / "sound.wav"
    ffmpeg("-f", "lavfi", "-i", "sine=duration=0.2", path)
    return path


class TestRun:
    def test_missing_file(self, home: Path) -> None:
        done = streamd(home, "run", "nowhere.mp4")
        assert (done.code, done.stdout) == (FAILED, "")
        assert done.error_line == "streamd: nowhere.mp4: not found"

    def test_not_a_video(self, home: Path, garbage: Path) -> None:
        done = streamd(home, "run", garbage)
        assert (done.code, done.stdout) == (FAILED, "")
        assert done.error_line == f"streamd: {garbage}: is not a video that can be decoded"

    def test_a_directory(self, home: Path, tmp_path: Path) -> None:
        done = streamd(home, "run", tmp_path)
        assert done.code == FAILED
        assert done.error_line.startswith(f"streamd: {tmp_path}: ")

    def test_only_sound(self, home: Path, sound: Path) -> None:
        done = streamd(home, "run", sound)
        assert done.code == FAILED
        assert done.error_line == f"streamd: {sound}: has no video"

    def test_port_in_use(self, home: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = f"127.0.0.1:{taken.getsockname()[1]}"
            done = streamd(home, "run", "demo:", "--model", "embedded", "--listen", address)
        assert (done.code, done.stdout) == (FAILED, "")
        # The streams may have logged that they start.
        [error_line] = [line for line in done.stderr.splitlines() if line.startswith("streamd: ")]
        assert error_line.startswith(f"streamd: cannot listen on {address}: the port is in use")
        assert "Traceback" not in done.stderr

    def test_bad_address(self, home: Path) -> None:
        done = streamd(home, "run", "--listen", "localhost")
        assert done.code == BAD_CONFIG
        assert done.error_line.startswith("streamd: server.listen: localhost: ")

    def test_open_to_strangers(self, home: Path) -> None:
        done = streamd(home, "run", "--listen", "0.0.0.0:0")
        assert done.code == BAD_CONFIG
        assert "allow_anonymous" in done.error_line

    def test_unknown_model(self, home: Path) -> None:
        done = streamd(home, "run", "--model", "midas_huge")
        assert done.code == USAGE
        assert "midas_huge" in done.error_line
        assert "embedded" in done.error_line


class TestConfiguration:
    @pytest.mark.parametrize("command", [["check"], ["run", "--config"]], ids=["check", "run"])
    def test_broken_toml(self, home: Path, tmp_path: Path, command: list[str]) -> None:
        file = tmp_path / "broken.toml"
        file.write_text("[server\nlisten = ")
        done = streamd(home, *command, file)
        assert (done.code, done.stdout) == (BAD_CONFIG, "")
        assert done.error_line.startswith(f"streamd: {file}: is not TOML: ")

    @pytest.mark.parametrize("command", [["check"], ["run", "--config"]], ids=["check", "run"])
    def test_unknown_key(self, home: Path, tmp_path: Path, command: list[str]) -> None:
        file = tmp_path / "typo.toml"
        file.write_text('[streams.porch]\nsource = "demo:"\nmax_fsp = 5\n')
        done = streamd(home, *command, file)
        assert (done.code, done.stdout) == (BAD_CONFIG, "")
        assert done.error_line.startswith("streamd: streams.porch.max_fsp: unknown key")

    def test_check_reports_all_problems_at_once(self, home: Path, tmp_path: Path) -> None:
        file = tmp_path / "bad.toml"
        file.write_text(
            '[server]\nlisten = "x"\n[model]\ninput_size = 32\n[streams.a]\n[streams."b c"]\nsource = "demo:"\n'
        )
        done = streamd(home, "check", file)
        assert done.code == BAD_CONFIG
        places = [line.removeprefix("streamd: ").partition(": ")[0] for line in done.stderr.splitlines()]
        assert sorted(places) == ["model.input_size", "server.listen", "streams.a.source", "streams.b c"]
        assert "model.input_size: 32: " in done.stderr

    def test_check_shows_no_password(self, home: Path, tmp_path: Path) -> None:
        file = tmp_path / "secret.toml"
        file.write_text(
            '[streams.a]\nsource = ["rtsp://user:secret@camera/x"]\ntransport = "rtsp://user:secret@camera/x"\n'
        )
        done = streamd(home, "check", file)
        assert done.code == BAD_CONFIG
        assert "secret" not in done.stderr
        assert "streams.a.transport" in done.stderr

    def test_check_missing_file(self, home: Path, tmp_path: Path) -> None:
        done = streamd(home, "check", tmp_path / "nowhere.toml")
        assert done.code == BAD_CONFIG
        assert done.error_line.startswith(f"streamd: {tmp_path / 'nowhere.toml'}: ")

    def test_check_good_file(self, home: Path, tmp_path: Path) -> None:
        file = tmp_path / "good.toml"
        file.write_text('[streams.porch]\nsource = "rtsp://camera/live"\n')
        done = streamd(home, "check", file)
        assert (done.code, done.stderr) == (0, "")
        assert done.stdout == f"{file}: good: 1 stream\n"

    def test_bad_value_in_the_environment(self, home: Path) -> None:
        done = streamd(home, "run", STREAMD_MODEL__TIMEOUT_S="soon")
        assert done.code == BAD_CONFIG
        assert done.error_line.startswith("streamd: model.timeout_s: soon: ")

    @pytest.mark.parametrize(
        ("text", "line"),
        [
            ('[hooks]\nwebhook = "https://h/"\nwebhook_secret = "env:NOBODY"', "hooks.webhook_secret: the environment"),
            ('[hooks]\nwebhook = "file:/none"', "hooks.webhook: cannot read its address from /none: No such file"),
            (
                '[webrtc]\nice_servers = [{ urls = ["turn:h:1"], username = "a", credential = "env:NOBODY" }]',
                "webrtc.ice_servers.0: the environment",
            ),
        ],
    )
    def test_a_secret_that_is_not_there(self, home: Path, tmp_path: Path, text: str, line: str) -> None:
        file = tmp_path / "streamd.toml"
        file.write_text(text + '\n[streams.porch]\nsource = "demo:"\n')
        done = streamd(home, "run", "--config", file, "--listen", "127.0.0.1:0")
        assert done.code == BAD_CONFIG
        assert done.error_line.startswith(f"streamd: {line}")

    def test_schema(self, home: Path) -> None:
        text, as_json = streamd(home, "schema"), streamd(home, "schema", "--json")
        assert (text.code, text.stderr, as_json.code, as_json.stderr) == (0, "", 0, "")
        assert json.loads(as_json.stdout) == Config.model_json_schema()
        for section in ("[server]", "[webrtc]", "[model]", "[recording]", "[streams.NAME]"):
            assert section in text.stdout


class TestCommandLine:
    @pytest.mark.parametrize(
        "arguments",
        [["fly"], [], ["run", "--fast"], ["depth", "a.png"], ["models", "sing"], ["models", "import", "midas_small"]],
        ids=" ".join,
    )
    def test_usage(self, home: Path, arguments: list[str]) -> None:
        done = streamd(home, *arguments)
        assert (done.code, done.stdout) == (USAGE, "")
        assert done.error_line.startswith("streamd")

    def test_help_and_version(self, home: Path) -> None:
        assert "convert" in streamd(home, "--help").stdout
        assert streamd(home, "--version").stdout.startswith("streamd ")


class TestModels:
    def test_import_of_a_pickle_that_runs_code(self, home: Path, tmp_path: Path) -> None:
        file, witness = tmp_path / "weights.pt", tmp_path / "ran"
        file.write_bytes(pickle.dumps(_Malicious(str(witness))))
        done = streamd(home, "models", "import", "midas_small", file)
        assert (done.code, done.stdout) == (FAILED, "")
        assert done.error_line.startswith(f"streamd: {file}: weights refused: ")
        assert not witness.exists()
        assert "missing" in streamd(home, "models", "list").stdout

    def test_import_of_nothing(self, home: Path) -> None:
        done = streamd(home, "models", "import", "midas_small", "nowhere.pt")
        assert done.code == FAILED
        assert done.error_line.startswith("streamd: nowhere.pt: ")

    def test_import_of_an_unknown_model(self, home: Path, garbage: Path) -> None:
        done = streamd(home, "models", "import", "midas_huge", garbage)
        assert done.code == USAGE
        assert "midas_huge" in done.error_line

    def test_fetch_offline(self, home: Path) -> None:
        done = streamd(home, "models", "fetch", "midas_small")
        assert done.code == FAILED
        assert "midas_v21_small_256.pt" in done.error_line

    def test_named_but_missing(self, home: Path, still: Path, tmp_path: Path) -> None:
        done = streamd(home, "depth", still, "--output", tmp_path / "out.png", "--model", "midas_small")
        assert done.code == FAILED
        assert "streamd models fetch midas_small" in done.error_line
        assert not (tmp_path / "out.png").exists()


class _Malicious:
    """Runs code when it is unpickled by something that trusts it."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (Path(self.path),)


class TestJobs:
    def test_depth_of_garbage(self, home: Path, garbage: Path, tmp_path: Path) -> None:
        done = streamd(home, "depth", garbage, "--output", tmp_path / "out.png", "--model", "embedded")
        assert done.code == FAILED
        assert done.error_line.startswith(
            f"streamd: {garbage}: is not a picture that can be read: streamd reads JPEG, "
        )
        assert not (tmp_path / "out.png").exists()

    def test_depth_of_a_damaged_picture(self, home: Path, tmp_path: Path) -> None:
        """libpng has a line to say too: nobody reads it."""
        damaged = tmp_path / "damaged.png"
        whole = saved(photo(), "PNG")
        damaged.write_bytes(whole[:200] + bytes(100) + whole[300:])
        done = streamd(home, "depth", damaged, "--output", tmp_path / "out.png", "--model", "embedded")
        assert done.code == FAILED
        assert done.error_line.startswith(f"streamd: {damaged}: is a PNG picture that is damaged")
        assert not (tmp_path / "out.png").exists()

    def test_depth_of_nothing(self, home: Path, tmp_path: Path) -> None:
        done = streamd(home, "depth", "nowhere.png", "--output", tmp_path / "out.png")
        assert done.code == FAILED
        assert done.error_line == "streamd: nowhere.png: no such file or directory"

    def test_depth_in_an_unknown_format(self, home: Path, still: Path, tmp_path: Path) -> None:
        done = streamd(home, "depth", still, "--output", tmp_path / "out.gif")
        assert done.code == USAGE
        assert "--format" in done.error_line

    def test_depth_into_no_folder(self, home: Path, still: Path, tmp_path: Path) -> None:
        done = streamd(home, "depth", still, "--output", tmp_path / "none" / "out.png", "--model", "embedded")
        assert done.code == FAILED
        assert done.error_line.startswith(f"streamd: {tmp_path / 'none' / 'out.png'}: ")

    @pytest.mark.parametrize("name", ["out.txt", "out", "none/out.mp4"])
    def test_convert_to_a_bad_name(self, home: Path, clip: Path, tmp_path: Path, name: str) -> None:
        done = streamd(home, "convert", clip, tmp_path / name, "--model", "embedded")
        assert (done.code, done.stdout) == (FAILED, "")
        assert done.error_line.startswith(f"streamd: {tmp_path / name}: ")
        assert [path.name for path in tmp_path.iterdir() if path.name.startswith("out")] == []

    def test_convert_garbage(self, home: Path, garbage: Path, tmp_path: Path) -> None:
        done = streamd(home, "convert", garbage, tmp_path / "out.mp4", "--model", "embedded")
        assert done.code == FAILED
        assert done.error_line == f"streamd: {garbage}: is not a video that can be decoded"
        assert not (tmp_path / "out.mp4").exists()

    def test_convert_onto_itself(self, home: Path, tmp_path: Path) -> None:
        clip = make_clip(tmp_path / "clip.mp4", 0.2)
        before = clip.read_bytes()
        done = streamd(home, "convert", clip, clip, "--model", "embedded")
        assert done.code == FAILED
        assert done.error_line == f"streamd: {clip}: is the input itself"
        assert clip.read_bytes() == before
