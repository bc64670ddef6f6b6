"""A machine for the installer, in a folder: its commands are played, and systemd is one that knows this unit only.

What systemd would start is really started, by a shell: each version is a script that notes that it runs. All state is
in files, so that it outlives an installer that is killed.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from streamd.installer.install import Installer, Options
from streamd.installer.machine import Machine
from streamd.installer.manifest import Manifest
from streamd.installer.uninstall import uninstall

REPOSITORY = Path(__file__).parents[2]
PREFIX = Path("/opt/streamd")
UNIT = "etc/systemd/system/streamd.service"
DROP_INS = ("etc/systemd/system/streamd.service.d", "run/systemd/system/streamd.service.d")
PID = "4242"
SHOWN = """LoadState=loaded
ActiveState={state}
SubState=running
NRestarts=2
Result=success
StatusText=1 stream: 1 idle; 0 fps; model embedded bf16
UnitFileState=enabled
ActiveEnterTimestamp=Wed 2026-11-25 04:32:25 UTC
MainPID={pid}
ExecStart={{ path=/bin/sh ; argv[]={start} ; ignore_errors=no ; pid={pid} }}
"""
PYTHON = """#!/bin/sh
[ ! -e "${{0%/bin/python}}/does-not-start" ] || exit 1
printf '%s\\0' "${{0#{root}}}" "$@" > {root}/proc/{pid}.new
"""


@dataclass
class Box:
    root: Path
    fails: dict[str, tuple[int, str]] = field(default_factory=dict)
    """Commands that fail, by a part of them, with their exit code and what they print."""
    prints: dict[str, str] = field(default_factory=dict)
    next_starts: bool = True
    """Whether the versions that are built from now on start as the service."""
    ran: list[str] = field(default_factory=list)
    reports: list[str] = field(default_factory=list)

    @property
    def machine(self) -> Machine:
        return Machine(self.root, PREFIX, self, self.reports.append, self.try_start, settle_s=0.0)

    def install(self, **choice: object) -> Manifest:
        with self.machine.locked():
            installer = Installer(self.machine)
            installer.install(Options(**choice))  # type: ignore[arg-type]
            return installer.manifest

    def roll_back(self) -> None:
        with self.machine.locked():
            Installer(self.machine).roll_back()

    def uninstall(self, *, purge: bool = False) -> None:
        with self.machine.locked():
            uninstall(self.machine, purge=purge)

    # -- what is there

    def text(self, path: str) -> str:
        return (self.root / path).read_text()

    def everything(self) -> set[str]:
        own = {"proc", "run", "systemd.json"}
        paths = (path.relative_to(self.root) for path in self.root.rglob("*"))
        return {str(path) for path in paths if path.parts[0] not in own}

    def versions(self) -> set[str]:
        return {path.name for path in (self.root / "opt/streamd/versions").iterdir()}

    def current(self) -> str:
        return (self.root / "opt/streamd/current").resolve().name

    def running(self) -> str:
        """The version that the service runs; empty when it does not."""
        try:
            python = Path(self.text(f"proc/{PID}/cmdline").partition("\0")[0])
        except OSError:
            return ""
        return (self.root / python.relative_to("/")).parent.parent.resolve().name

    def count(self, part: str) -> int:
        return sum(part in line for line in self.ran)

    # -- commands

    def try_start(self, interpreter: Path, folder: Path) -> None:
        folder.mkdir(exist_ok=True)

    def __call__(self, command: Sequence[str], *, watched: bool = False) -> subprocess.CompletedProcess[str]:
        line = " ".join(command)
        self.ran.append(line)
        for part, (code, output) in self.fails.items():
            if part in line:
                return subprocess.CompletedProcess(command, code, "", output)
        if "-m venv" in line:
            self._make_environment(Path(command[-1]))
        code = self._systemctl(command[1:]) if command[0] == "systemctl" else 0
        output = next((text for part, text in self.prints.items() if part in line), "")
        if line.startswith("systemctl show") and not output:
            running = bool(self.running())
            start = json.loads(self.text("systemd.json"))["start"]
            output = SHOWN.format(state="active" if running else "failed", pid=PID if running else 0, start=start)
        return subprocess.CompletedProcess(command, code, output, "")

    def _make_environment(self, home: Path) -> None:
        (home / "bin").mkdir(parents=True, exist_ok=True)
        python = home / "bin" / "python"
        python.write_text(PYTHON.format(root=self.root, pid=PID))
        python.chmod(0o755)
        (home / "bin" / "streamd").touch()
        if not self.next_starts:
            (home / "does-not-start").touch()

    # -- systemd

    def power_cut(self) -> None:
        """And the boot after it."""
        self._stop()
        shutil.rmtree(self.root / "run")
        (self.root / "run").mkdir()
        self._load()
        self._start()

    def _systemctl(self, arguments: Sequence[str]) -> int:
        match arguments[0]:
            case "daemon-reload":
                self._load()
            case "restart":
                self._stop()
                return self._start()
            case "stop":
                self._stop()
            case "is-active":
                return 0 if self.running() else 3
        return 0

    def _load(self) -> None:
        unit = self.root / UNIT
        text = unit.read_text() if unit.exists() else ""
        for folder in DROP_INS:
            text += "".join(file.read_text() for file in sorted((self.root / folder).glob("*.conf")))
        starts = re.findall(r"^ExecStart=(.+)$", text, re.MULTILINE)
        state = {"start": starts[-1] if starts else "false", "keeps": "RuntimeDirectoryPreserve=yes" in text}
        (self.root / "systemd.json").write_text(json.dumps(state))

    def _stop(self) -> None:
        shutil.rmtree(self.root / "proc" / PID, ignore_errors=True)
        if not json.loads(self.text("systemd.json"))["keeps"]:
            shutil.rmtree(self.root / "run/streamd", ignore_errors=True)

    def _start(self) -> int:
        """The exit code of `systemctl restart`. After a failure the service is started again, a few times."""
        start = json.loads(self.text("systemd.json"))["start"].replace("$$", "$")
        start = start.replace(str(PREFIX), str(self.root) + str(PREFIX))
        (self.root / "proc").mkdir(exist_ok=True)
        codes = []
        for _ in range(3):
            (self.root / "run/streamd").mkdir(parents=True, exist_ok=True)
            runtime = {"RUNTIME_DIRECTORY": str(self.root / "run/streamd"), "PATH": "/usr/bin:/bin"}
            codes.append(
                subprocess.run(start, shell=True, env=runtime, stderr=subprocess.DEVNULL, check=False).returncode
            )
            if codes[-1] == 0:
                (self.root / "proc" / PID).mkdir()
                (self.root / f"proc/{PID}.new").replace(self.root / f"proc/{PID}/cmdline")
                break
        return codes[0]
