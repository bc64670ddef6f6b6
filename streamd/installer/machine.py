"""The machine that streamd is installed on: its paths, and the commands that are run there."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from streamd.errors import StreamdError
from streamd.installer import files, smoke
from streamd.installer.commands import Run, error_line, print_line, run_command
from streamd.installer.manifest import Manifest

log = logging.getLogger(__name__)

Report = Callable[[str], None]
SERVICE = "streamd.service"
UNIT = Path("/etc/systemd/system", SERVICE)
CONFIGURATION = Path("/etc/streamd/streamd.toml")
SECRETS = Path("/etc/streamd/secrets")
COMMAND = Path("/usr/local/bin/streamd")
CACHE = (Path("/var/cache/streamd"), Path("/var/cache/private/streamd"))
KEPT = (CONFIGURATION.parent, Path("/var/lib/streamd"), Path("/var/lib/private/streamd"))
"""Configuration, recordings and models: only ``--purge`` removes them."""


@dataclass(frozen=True)
class Machine:
    """This machine, or one that is being put together below ``root``."""

    root: Path = Path("/")
    prefix: Path = Path("/opt/streamd")
    run: Run = run_command
    report: Report = print_line
    try_start: Callable[[Path, Path], None] = smoke.check
    settle_s: float = 3.0
    """A new version that ends within this time after it was ready does not run."""

    def place(self, path: Path) -> Path:
        """Where a path of that machine is on this one."""
        return self.root / path.relative_to("/")

    @property
    def live(self) -> bool:
        """Whether it is this machine, whose service can be started."""
        return self.root == Path("/")

    def manifest(self) -> Manifest:
        return Manifest.read(self.place(self.prefix) / "manifest.json")

    def run_checked(self, *command: str, doing: str, watched: bool = False) -> str:
        """stdout. Raises StreamdError with the error that the command has printed."""
        done = self.run(command, watched=watched)
        if done.returncode:
            output = done.stderr or done.stdout or f"{command[0]} ended with {done.returncode}"
            log.debug("%s: %s", " ".join(command), output)
            raise StreamdError(f"{doing}: {error_line(output)}")
        return done.stdout or ""

    def systemctl(self, *arguments: str, doing: str) -> str:
        """Raises StreamdError."""
        return self.run_checked("systemctl", *self.systemctl_root, *arguments, doing=doing)

    @property
    def systemctl_root(self) -> tuple[str, ...]:
        """The option of systemctl for a machine that does not run."""
        return () if self.live else (f"--root={self.root}",)

    def require(self, *, root_user: bool) -> None:
        """Raises StreamdError, in one line, when this cannot work."""
        if not self.live:
            return
        if not self.place(Path("/run/systemd/system")).is_dir():
            raise StreamdError(
                "systemd does not run here; `streamd run` needs none, --root DIR prepares another machine"
            )
        if root_user and os.geteuid() != 0:
            raise StreamdError("needs root: sudo streamd service, or sudo make install")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One installation at a time; the kernel lifts the lock of one that was killed. Raises StreamdError."""
        home = self.place(self.prefix)
        home.mkdir(parents=True, exist_ok=True)
        handle = os.open(home, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise StreamdError(f"another installation is at work in {self.prefix}: try again later") from None
        try:
            yield
        finally:
            files.remove(home)  # unless there is something in it
            os.close(handle)
