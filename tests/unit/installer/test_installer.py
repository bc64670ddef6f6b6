"""streamd.installer, into a temporary root; what it would run is written down instead.

A real systemd and a real environment are in tests/e2e/test_systemd.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from streamd import cli, installer
from streamd.errors import ConfigError, StreamdError
from streamd.installer import install, origin
from streamd.installer.install import Installer
from streamd.installer.running import page_of, start, status, uninstall
from streamd.installer.site import Manifest, Site, run_command

REPOSITORY = Path(__file__).parents[3]
PREFIX = Path("/opt/streamd")
UNIT = "etc/systemd/system/streamd.service"


@dataclass
class Shell:
    """Runs nothing. ``fails`` names the commands that do, by a part of them, and what they say."""

    ran: list[str] = field(default_factory=list)
    fails: dict[str, tuple[int, str]] = field(default_factory=dict)
    says: dict[str, str] = field(default_factory=dict)

    def __call__(self, command: Sequence[str], *, watched: bool = False) -> subprocess.CompletedProcess[str]:
        line = " ".join(command)
        self.ran.append(line)
        for part, (code, said) in self.fails.items():
            if part in line:
                return subprocess.CompletedProcess(command, code, "", said)
        if "-m venv" in line:
            for name in ("python", "streamd"):
                place = Path(command[-1], "bin", name)
                place.parent.mkdir(parents=True, exist_ok=True)
                place.touch()
        said = next((text for part, text in self.says.items() if part in line), "")
        return subprocess.CompletedProcess(command, 0, said, "")

    def count(self, part: str) -> int:
        return sum(part in line for line in self.ran)


@dataclass
class Machine:
    root: Path
    shell: Shell = field(default_factory=Shell)
    said: list[str] = field(default_factory=list)

    @property
    def site(self) -> Site:
        return Site(self.root, PREFIX, self.shell)

    def install(self, environment: Path | None = None, torch_index: str | None = None) -> Manifest:
        one = Installer(self.site, self.said.append)
        one.install(None, environment, torch_index)
        return one.manifest

    def start(self) -> None:
        start(self.site, self.site.manifest(), self.said.append)

    def uninstall(self, *, purge: bool = False) -> None:
        uninstall(self.site, purge=purge, say=self.said.append)

    def text(self, path: str) -> str:
        return (self.root / path).read_text()

    def everything(self) -> set[str]:
        return {str(path.relative_to(self.root)) for path in self.root.rglob("*")}


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A Debian without graphics."""
    root = tmp_path / "root"
    for folder in ("etc/systemd/system", "usr/local/bin", "opt", "var/lib", "var/cache"):
        (root / folder).mkdir(parents=True)
    (root / "etc/group").write_text("root:x:0:\nvideo:x:44:\n")
    return Machine(root)


@pytest.fixture
def code(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Call it to install other code than before."""
    now = ["first"]
    monkeypatch.setattr(install, "fingerprint_of", lambda wanted: f"{now[0]} needs")

    def change(fingerprint: str) -> None:
        now[0] = fingerprint

    return change


# -- install ----------------------------------------------------------------------------------


def test_puts_everything_in_place(machine: Machine) -> None:
    machine.install(torch_index="https://torch.example/cpu")
    home = machine.root / "opt/streamd/.venv"
    unit = machine.text(UNIT)
    assert f"ExecStart={PREFIX}/.venv/bin/python -m streamd run --config /etc/streamd/streamd.toml\n" in unit
    assert "SupplementaryGroups=video\n" in unit
    assert machine.text("etc/streamd/streamd.toml") == (REPOSITORY / "systemd/streamd.toml").read_text()
    assert (machine.root / "etc/streamd/secrets").stat().st_mode & 0o777 == 0o700
    assert os.readlink(machine.root / "usr/local/bin/streamd") == f"{PREFIX}/.venv/bin/streamd"
    [torch, streamd] = [line for line in machine.shell.ran if " -m pip install " in line]
    assert torch.endswith("--index-url https://torch.example/cpu torch torchvision")
    assert streamd.startswith(f"{home}/bin/python -m pip install --quiet ")
    assert str(REPOSITORY) not in streamd, "a build leaves files behind"
    assert machine.shell.count(f"{home}/bin/python -I -m streamd check {machine.root}/etc/streamd/streamd.toml") == 1


def test_a_second_time_changes_nothing(machine: Machine) -> None:
    machine.install()
    before = {path: (machine.root / path).lstat().st_mtime_ns for path in sorted(machine.everything())}
    machine.shell.ran.clear()
    manifest = machine.install()
    assert machine.shell.count("pip") == machine.shell.count("-m venv") == 0
    assert manifest.pending == ["environment", "unit"], "it was never started"
    unchanged = {path for path, moment in before.items() if (machine.root / path).lstat().st_mtime_ns == moment}
    assert set(before) - unchanged <= {
        "opt/streamd",
        "opt/streamd/manifest.json",
        "usr/local/bin/streamd",
        "usr/local/bin",
    }
    assert machine.everything() == set(before)


def test_an_upgrade_keeps_the_configuration(machine: Machine, code: Callable[[str], None]) -> None:
    machine.install()
    (machine.root / "etc/streamd/streamd.toml").write_text("# mine\n")
    machine.shell.ran.clear()
    code("second")
    machine.install()
    assert machine.text("etc/streamd/streamd.toml") == "# mine\n"
    assert machine.shell.count("pip install") == 1
    assert machine.shell.count("-m venv") == 0


def test_a_bad_configuration_stops_it_with_the_reasons(machine: Machine) -> None:
    said = "streamd: server.listen: here: not HOST:PORT\nstreamd: streams.door.source: is required\n"
    machine.shell.fails["streamd check"] = (78, said)
    with pytest.raises(ConfigError) as caught:
        machine.install()
    assert str(caught.value).splitlines() == [
        "server.listen: here: not HOST:PORT",
        "streams.door.source: is required",
    ]
    assert not (machine.root / UNIT).exists()
    machine.shell.fails.clear()
    assert machine.install().pending == ["environment", "unit"], "what changed before is not forgotten"


def test_pip_that_fails_is_tried_again(machine: Machine) -> None:
    machine.shell.fails["pip install"] = (1, "ERROR: something\nERROR: No matching distribution\n\nhint: try\n")
    with pytest.raises(StreamdError, match=r"^installing streamd: ERROR: No matching distribution$"):
        machine.install()
    machine.shell.fails.clear()
    machine.install()
    assert machine.shell.count("-m venv") == 1
    assert machine.shell.count("pip install") == 2


def test_a_broken_environment_is_made_anew(machine: Machine) -> None:
    machine.install()
    machine.shell.fails["-c import sys"] = (127, "no such file")
    machine.install()
    assert machine.shell.count("-m venv --clear") == 2


def test_an_environment_that_does_not_run_streamd_is_told(machine: Machine) -> None:
    machine.shell.fails["streamd check"] = (1, "Traceback\nModuleNotFoundError: No module named 'av'\n")
    with pytest.raises(StreamdError, match="does not work: ModuleNotFoundError: No module named 'av'"):
        machine.install()


def test_uses_a_given_environment_and_leaves_it(machine: Machine) -> None:
    own = machine.root / "srv/env/bin"
    own.mkdir(parents=True)
    (own / "python").touch()
    machine.install(environment=Path("/srv/env"))
    assert "ExecStart=/srv/env/bin/python -m streamd " in machine.text(UNIT)
    assert machine.shell.count("pip") == 0
    machine.uninstall(purge=True)
    assert (own / "python").exists()
    with pytest.raises(StreamdError, match="/srv/none: is no Python environment"):
        machine.install(environment=Path("/srv/none"))


def test_the_environment_that_runs_this_is_not_touched(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, code: Callable[[str], None]
) -> None:
    own = machine.root / "opt/streamd/.venv/bin"
    own.mkdir(parents=True)
    (own / "python").touch()
    monkeypatch.setattr(sys, "prefix", str(own.parent))
    assert machine.install().pending == ["environment", "unit"]
    assert machine.shell.count("pip") == machine.shell.count("venv --clear") == 0
    machine.uninstall(purge=True)
    assert (own / "python").exists(), "who made it removes it"


def test_what_was_edited_by_hand_is_kept_aside(machine: Machine) -> None:
    machine.install()
    (machine.root / UNIT).write_text("[Service]\n# mine\n")
    machine.install()
    assert machine.text(f"{UNIT}.edited") == "[Service]\n# mine\n"
    assert any("was not as we left it" in line for line in machine.said)
    assert "# mine" not in machine.text(UNIT)


def test_somebody_elses_command_stays(machine: Machine) -> None:
    place = machine.root / "usr/local/bin/streamd"
    place.write_text("another")
    machine.install()
    machine.uninstall(purge=True)
    assert place.read_text() == "another"


# -- start and status -------------------------------------------------------------------------


@pytest.fixture
def live(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """This is the machine that runs, not one that is laid out."""
    monkeypatch.setattr(Site, "live", True)
    machine.shell.says["systemctl show"] = (
        "LoadState=loaded\nActiveState=active\nSubState=running\nNRestarts=2\nResult=success\n"
        "StatusText=1 stream: 1 idle; 0 fps; model embedded bf16\nUnitFileState=enabled\n"
        "ActiveEnterTimestamp=Wed 2026-11-25 04:32:25 UTC\n"
    )
    return machine


def test_starts_anew_only_when_something_has_changed(live: Machine, code: Callable[[str], None]) -> None:
    live.install()
    live.start()
    assert live.said[-2:] == ["status: 1 stream: 1 idle; 0 fps; model embedded bf16", "page: http://127.0.0.1:8080/"]
    live.install()
    live.start()
    assert "running already, nothing has changed" in live.said
    assert live.shell.count("systemctl restart") == 1
    code("second")
    live.install()
    live.start()
    assert live.shell.count("systemctl restart") == 2
    live.shell.fails["is-active"] = (3, "")
    live.start()
    assert live.shell.count("systemctl restart") == 3


def test_a_service_that_does_not_start_shows_its_last_words(live: Machine) -> None:
    live.install()
    live.shell.fails["systemctl restart"] = (1, "Job failed")
    live.shell.says["journalctl"] = "streamd: 127.0.0.1:8080: in use\n"
    with pytest.raises(StreamdError, match=r"its last words:\nstreamd: 127\.0\.0\.1:8080: in use$"):
        live.start()
    assert live.site.manifest().pending, "the next install starts it again"


def test_lays_out_another_machine_without_starting_it(machine: Machine) -> None:
    machine.install()
    machine.start()
    assert [line for line in machine.shell.ran if "systemctl" in line] == [
        f"systemctl --root={machine.root} enable streamd.service"
    ]


def test_status_says_how_it_is(live: Machine) -> None:
    live.install()
    live.said.clear()
    status(live.site, live.said.append)
    assert live.said[1:] == [
        "state: active (running) since Wed 2026-11-25 04:32:25 UTC; enabled at boot",
        "status: 1 stream: 1 idle; 0 fps; model embedded bf16",
        "starts again after faults: 2",
        "page: http://127.0.0.1:8080/",
    ]
    live.shell.says["systemctl show"] = "LoadState=loaded\nActiveState=failed\nResult=watchdog\n"
    with pytest.raises(StreamdError, match=r"not running \(watchdog\): journalctl -u streamd -e shows why"):
        status(live.site, live.said.append)
    live.shell.says["systemctl show"] = "LoadState=not-found\nActiveState=inactive\n"
    with pytest.raises(StreamdError, match="not installed"):
        status(live.site, live.said.append)


@pytest.mark.parametrize(
    ("text", "page"),
    [
        ('[server]\nlisten = "127.0.0.1:9000"', "http://127.0.0.1:9000/"),
        ('[server]\nlisten = "0.0.0.0:8443"\ntls_certificate = "a.pem"', f"https://{os.uname().nodename}:8443/"),
        ("not TOML", "http://127.0.0.1:8080/"),
    ],
)
def test_the_page_is_where_the_configuration_says(tmp_path: Path, text: str, page: str) -> None:
    (tmp_path / "streamd.toml").write_text(text)
    assert page_of(tmp_path / "streamd.toml") == page


# -- uninstall --------------------------------------------------------------------------------


def record_something(machine: Machine) -> None:
    """As the service would."""
    for folder in ("lib", "cache"):
        (machine.root / f"var/{folder}/private/streamd").mkdir(parents=True)
        (machine.root / f"var/{folder}/private/streamd/file").touch()
        (machine.root / f"var/{folder}/streamd").symlink_to("private/streamd")


def test_leaves_nothing_but_what_is_worth_keeping(machine: Machine) -> None:
    before = machine.everything()
    machine.install()
    record_something(machine)
    machine.uninstall()
    left = machine.everything() - before - {"var/lib/private", "var/cache/private"}
    assert left == {
        "etc/streamd",
        "etc/streamd/streamd.toml",
        "etc/streamd/secrets",
        "var/lib/streamd",
        "var/lib/private/streamd",
        "var/lib/private/streamd/file",
    }
    assert machine.said[-1] == "removed; kept /etc/streamd and /var/lib/streamd, which `uninstall --purge` removes"
    machine.uninstall()
    assert machine.said[-1] == "not installed: nothing to remove"
    machine.uninstall(purge=True)
    assert machine.everything() - before == {"var/lib/private", "var/cache/private"}


def test_what_others_put_beside_it_stays(machine: Machine) -> None:
    machine.install()
    (machine.root / "opt/streamd/notes.txt").write_text("mine")
    (machine.root / f"{UNIT}.d").mkdir()
    machine.uninstall(purge=True)
    assert machine.text("opt/streamd/notes.txt") == "mine"
    assert (machine.root / f"{UNIT}.d").exists()


def test_what_was_cut_short_can_be_taken_away(machine: Machine) -> None:
    before = machine.everything()
    machine.shell.fails["pip install"] = (1, "no network")
    with pytest.raises(StreamdError):
        machine.install()
    machine.uninstall()
    assert machine.everything() == before


def test_a_damaged_manifest_is_no_traceback(machine: Machine) -> None:
    machine.install()
    (machine.root / "opt/streamd/manifest.json").write_text("{")
    with pytest.raises(StreamdError, match="cannot be read as a manifest"):
        machine.install()


# -- where it comes from ----------------------------------------------------------------------


def test_the_shipped_unit_fits_each_machine() -> None:
    text = origin.shipped("streamd.service")
    assert "\nSupplementaryGroups=video render\n" in origin.unit_for(text, Path("/x/python"), None)
    assert "\nSupplementaryGroups=" not in origin.unit_for(text, Path("/x/python"), {"root"})
    with pytest.raises(StreamdError, match=r"none\.service is neither in"):
        origin.shipped("none.service")


def test_a_build_gets_the_sources_only(tmp_path: Path) -> None:
    copy = origin.copy_of(REPOSITORY, tmp_path)
    assert (copy / "streamd/cli.py").read_bytes() == (REPOSITORY / "streamd/cli.py").read_bytes()
    assert {path.name for path in copy.iterdir()} == set(origin._SOURCES)
    assert not list(copy.rglob("__pycache__"))


def test_a_python_in_a_home_directory_is_of_no_use(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "base_prefix", "/root/.pyenv/versions/3.11.7")
    monkeypatch.setattr(origin, "_SYSTEM_PYTHON", Path("/bin/sh"))
    assert origin.find_python(machine.site) == Path("/bin/sh")
    machine.shell.fails["/bin/sh"] = (1, "too old")
    with pytest.raises(StreamdError, match=r"no Python 3\.11 or newer.*name one by --python"):
        origin.find_python(machine.site)


@pytest.mark.parametrize(
    ("direct", "expected"),
    [
        ("{}", "streamd==0.1.0"),
        (json.dumps({"url": "https://x/streamd.whl"}), "https://x/streamd.whl"),
        (json.dumps({"url": "https://x/s", "vcs_info": {"vcs": "git", "commit_id": "12ab"}}), "git+https://x/s@12ab"),
    ],
)
def test_an_installed_package_installs_itself(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, direct: str, expected: str
) -> None:
    metadata = tmp_path / "streamd-0.1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Name: streamd\nVersion: 0.1.0\n")
    (metadata / "direct_url.json").write_text(direct)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(origin, "_CHECKOUT", tmp_path)
    monkeypatch.setattr(origin, "__version__", "0.1.0")
    assert origin.package() == expected


# -- the command ------------------------------------------------------------------------------


@pytest.mark.usefixtures("logging_restored")
def test_without_root_or_systemd_there_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(Path, "is_dir", lambda self: False)
    for action in ("install", "uninstall", "status"):
        assert cli.main(["service", action]) == 1
        assert capsys.readouterr().err.startswith("streamd: systemd does not run here; ")
    monkeypatch.setattr(Path, "is_dir", lambda self: True)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert cli.main(["service", "install"]) == 1
    assert capsys.readouterr().err == "streamd: needs root: sudo streamd service, or sudo make install\n"


@pytest.mark.usefixtures("logging_restored")
def test_impossible_places_are_told(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert cli.main(["service", "install", "--root", str(tmp_path), "--prefix", "here"]) == 2
    assert capsys.readouterr().err == "streamd: --prefix here: not an absolute path\n"
    assert cli.main(["service", "status", "--root", str(tmp_path)]) == 2
    assert "does not run" in capsys.readouterr().err


def test_make_needs_nothing_but_python(tmp_path: Path) -> None:
    """Not even what streamd depends on."""
    command = [sys.executable, "-S", "-B", "-m", "streamd.installer", "uninstall", "--root", str(tmp_path)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "not installed: nothing to remove\n", "")


def test_a_command_that_is_not_there_is_an_error_like_any_other() -> None:
    done = run_command(["/no/such/command"])
    assert done.returncode == 127
    assert done.stderr == "/no/such/command: No such file or directory"
    assert installer.Site().must("true", doing="nothing") == ""
