"""The service in systemd's hands."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

from streamd.installer.machine import SERVICE, Machine

RUNS = ("active", "reloading")


class Service:
    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def reload_units(self) -> None:
        self._machine.systemctl("daemon-reload", doing="reading the unit")

    def enable(self) -> None:
        self._machine.systemctl("enable", SERVICE, doing="enabling the service")

    def properties(self, *names: str) -> dict[str, str]:
        option = f"--property={','.join(names)}"
        text = self._machine.systemctl("show", SERVICE, option, doing="asking systemd")
        return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)

    def is_active(self) -> bool:
        return not self._machine.run(["systemctl", "is-active", "--quiet", SERVICE]).returncode

    def command(self) -> str:
        """What it starts, drop-ins of the user included; empty when that is no Python."""
        found = re.search(r"argv\[\]=(\S+/bin/python .*?) ;", self.properties("ExecStart").get("ExecStart", ""))
        return found[1] if found else ""

    def environment(self) -> Path | None:
        """What it runs in, as a path of this machine without links. None: it does not run."""
        if not self._machine.live:
            return None
        pid = self.properties("MainPID").get("MainPID", "0")
        try:
            command = self._machine.place(Path(f"/proc/{pid}/cmdline")).read_bytes()
        except OSError:
            return None
        python = Path("/", os.fsdecode(command.partition(b"\0")[0]))
        return self._machine.place(python).parent.parent.resolve()

    def restart(self, environment: Path | None = None) -> str:
        """Returns when it is ready. Why it does not run, and in that environment if one is named; empty when it
        does."""
        began = int(time.time())
        self.reload_units()
        self._machine.run(["systemctl", "reset-failed", SERVICE])
        failed = self._machine.run(["systemctl", "restart", SERVICE]).returncode
        if not failed:
            time.sleep(self._machine.settle_s)
        state = self.properties("ActiveState").get("ActiveState")
        if not failed and state in RUNS and environment in (None, self.environment()):
            return ""
        return self._last_line(began) or f"it is {state}"

    def _last_line(self, since: int) -> str:
        log = ["journalctl", f"--unit={SERVICE}", "--identifier=streamd", f"--since=@{since}", "--output=cat"]
        lines = self._machine.run([*log, "--no-pager"]).stdout.strip().splitlines()
        return lines[-1].strip().removeprefix("streamd: ") if lines else ""
