"""A machine with a real systemd: a container whose disk is this machine's, and whose changes are thrown away.

An overlay of / costs neither a download nor a copy: whatever is installed here is there too, and its upper
layer shows what a test has left behind. Needs root and the package systemd-container. The network is this
machine's: the service is reached on 127.0.0.1.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.waiting import scaled, until

BOOT_S = 30.0
REPOSITORY = Path(__file__).parents[2]
_LIBRARIES = "/opt/python/lib"


def missing() -> str:
    """Why there can be no such machine here; empty when there can."""
    if os.geteuid() != 0:
        return "a real systemd takes root"
    if shutil.which("systemd-nspawn") is None:
        return "a real systemd takes systemd-nspawn: apt-get install systemd-container"
    return ""


class Machine:
    """Made by ``boot``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.disk = folder / "disk"
        """Its /. Not what it mounts itself: /run, /tmp, /dev."""
        self.changes = folder / "changes"
        """What is not as on this machine."""
        self.python = _visible(Path(sys.base_prefix), "python")
        self.repository = _visible(REPOSITORY, "checkout")
        self.pid = 0

    # -- commands in it

    def command(self, *command: str) -> list[str]:
        return ["nsenter", f"--target={self.pid}", "--all", "--root", "--wd", *command]

    def run(self, *command: str, check: bool = True, within_s: float = 60.0, **environment: str) -> str:
        """What it prints, errors included."""
        done = subprocess.run(
            self.command(*command),
            env={"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=scaled(within_s),
            check=False,
        )
        assert not check or done.returncode == 0, f"{' '.join(command)}: {done.returncode}\n{done.stdout}"
        return done.stdout

    def show(self, unit: str, key: str) -> str:
        """A property of a unit."""
        return self.run("systemctl", "show", unit, f"--property={key}", "--value").strip()

    def journal(self, unit: str) -> str:
        return self.run("journalctl", f"--unit={unit}", "--output=cat", "--no-pager")

    def live(self, path: str) -> Path:
        """A path of the running machine, with what it has mounted."""
        return Path(f"/proc/{self.pid}/root{path}")

    def inside(self, path: str) -> str:
        """Where it has a path of the repository."""
        place = Path(path)
        return str(self.repository / place.relative_to(REPOSITORY)) if place.is_relative_to(REPOSITORY) else path

    def changed(self) -> set[str]:
        """All that is not as on this machine, but for what the installer builds in the repository."""
        return {str(path.relative_to(self.changes)) for path in self.changes.rglob("*")}

    def has_more(self, path: str) -> bool:
        """Whether it has something there, other than a directory that this machine has too."""
        place = self.disk / path
        return place.is_symlink() or (place.exists() and not (place.is_dir() and Path("/", path).is_dir()))

    # -- its life

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        place = self.disk / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        place.chmod(mode)

    def _mount(self) -> None:
        # A tmpfs, since an overlay's upper layer may not lie on another overlay, as a container's disk is.
        _do("mount", "-t", "tmpfs", "streamd-test", str(self.folder))
        for folder in (self.disk, self.changes, self.folder / "work", self.folder / "built"):
            folder.mkdir()
        layers = f"lowerdir=/,upperdir={self.changes},workdir={self.folder / 'work'}"
        _do("mount", "-t", "overlay", "streamd-test", "-o", layers, str(self.disk))
        self.write("/etc/machine-id", "")
        # Nothing that this machine starts at boot is wanted, nor may it touch the network that they share.
        (self.disk / "etc/systemd/system/network-online.target").unlink(missing_ok=True)
        (self.disk / "etc/systemd/system/network-online.target").symlink_to("/dev/null")

    def _arguments(self) -> list[str]:
        options = ["--quiet", "--register=no", "--keep-unit", "--console=read-only", "--link-journal=no"]
        options += ["--resolv-conf=off", "--timezone=off", f"--directory={self.disk}", "--boot"]
        if self.python != Path(sys.base_prefix):
            options.append(f"--bind-ro={sys.base_prefix}:{self.python}")
        if self.repository != REPOSITORY:
            options.append(f"--overlay={REPOSITORY}:{self.folder / 'built'}:{self.repository}")
        # It goes with the process that runs this test, however that ends: else its service would go on for ever.
        return ["setpriv", "--pdeathsig", "KILL", "systemd-nspawn", *options, "--", "--unit=sysinit.target"]

    def _boot(self, outside: subprocess.Popen[bytes]) -> None:
        children = Path(f"/proc/{outside.pid}/task/{outside.pid}/children")

        def inside() -> int:
            assert outside.poll() is None, f"systemd-nspawn: {self._console()}"
            return next((int(pid) for pid in children.read_text().split() if _is_systemd(int(pid))), 0)

        self.pid = until("the machine has a systemd", inside, BOOT_S)
        until("it has booted", self._is_up, BOOT_S)
        self.run("systemctl", "start", "dbus.socket", "systemd-journald.service")

    def _is_up(self) -> bool:
        return self.run("systemctl", "is-active", "sysinit.target", check=False).strip() == "active"

    def _console(self) -> str:
        return (self.folder / "console").read_text(errors="replace")

    def environment_of_its_own(self) -> dict[str, str]:
        """What a service needs to run a Python that is not where it was built for."""
        return {} if self.python == Path(sys.base_prefix) else {"LD_LIBRARY_PATH": _LIBRARIES}


@contextmanager
def boot(folder: Path) -> Iterator[Machine]:
    """Raises AssertionError with what went wrong when it does not come up."""
    machine = Machine(folder)
    machine._mount()
    try:
        with (folder / "console").open("wb") as console:
            outside = subprocess.Popen(
                machine._arguments(), stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True
            )
        try:
            machine._boot(outside)
            yield machine
        finally:
            _power_off(machine, outside)
    finally:
        for mounted in (machine.disk, folder):
            subprocess.run(["umount", "--lazy", str(mounted)], check=False)


def _power_off(machine: Machine, outside: subprocess.Popen[bytes]) -> None:
    if machine.pid and outside.poll() is None:
        machine.run("systemctl", "poweroff", "--no-block", check=False)
    try:
        outside.wait(15)
    except subprocess.TimeoutExpired:
        if machine.pid:
            os.kill(machine.pid, signal.SIGKILL)  # the first process of a container takes all others with it
        outside.kill()
        outside.wait()


def _visible(path: Path, name: str) -> Path:
    """Services see no home directories, and the machine has a /tmp and a /run of its own: what is there is mounted
    elsewhere."""
    return Path("/opt", name) if path.resolve().parts[1] in ("root", "home", "tmp", "run") else path


def _is_systemd(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip() == "systemd"
    except OSError:
        return False


def _do(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
