"""The machine that streamd is installed on, and the list of what was made there."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from streamd import __version__
from streamd.errors import StreamdError

log = logging.getLogger(__name__)

Say = Callable[[str], None]
UNIT = Path("/etc/systemd/system/streamd.service")
CONFIGURATION = Path("/etc/streamd/streamd.toml")
SECRETS = Path("/etc/streamd/secrets")
COMMAND = Path("/usr/local/bin/streamd")
CACHE = (Path("/var/cache/streamd"), Path("/var/cache/private/streamd"))
KEPT = (CONFIGURATION.parent, Path("/var/lib/streamd"), Path("/var/lib/private/streamd"))
"""Configuration, recordings and models: only ``--purge`` removes them."""


class Run(Protocol):
    def __call__(self, command: Sequence[str], *, watched: bool = False) -> subprocess.CompletedProcess[str]:
        """Raises nothing. ``watched``: what it prints is for the user's eyes, not for ours."""


def run_command(command: Sequence[str], *, watched: bool = False) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "SYSTEMD_PAGER": "", "SYSTEMD_COLORS": "0"}
    try:
        return subprocess.run(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=None if watched else subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            check=False,
        )
    except OSError as error:  # as a shell would tell it
        return subprocess.CompletedProcess(command, 127, "", f"{command[0]}: {error.strerror}")


@dataclass
class Manifest:
    """What was made, in the order in which it was."""

    file: Path
    made: dict[str, str] = field(default_factory=dict)
    """Path on the target machine to "directory", "link", "tree", or a file's sha256."""
    fingerprint: str = ""
    """Of what is installed in the environment."""
    pending: list[str] = field(default_factory=list)
    """What has changed since the service was started last."""
    version: str = __version__

    @classmethod
    def read(cls, file: Path) -> Manifest:
        """An empty one when there is none. Raises StreamdError when it is damaged."""
        try:
            content = json.loads(file.read_text())
            return cls(file, **{key: content[key] for key in ("made", "fingerprint", "pending", "version")})
        except FileNotFoundError:
            return cls(file)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise StreamdError(f"{file}: cannot be read as a manifest: {error}") from None

    def add(self, path: Path, kind: str) -> None:
        self.made[str(path)] = kind
        self.save()

    def save(self) -> None:
        content = {key: value for key, value in vars(self).items() if key != "file"}
        self.file.parent.mkdir(parents=True, exist_ok=True)
        new = self.file.with_suffix(".new")
        new.write_text(json.dumps(content, indent=1) + "\n")
        new.replace(self.file)


@dataclass(frozen=True)
class Site:
    """A machine: this one, or one that is being put together below ``root``."""

    root: Path = Path("/")
    prefix: Path = Path("/opt/streamd")
    run: Run = run_command

    def at(self, path: Path) -> Path:
        """Where a path of that machine is on this one."""
        return self.root / path.relative_to("/")

    @property
    def live(self) -> bool:
        return self.root == Path("/")

    @property
    def environment(self) -> Path:
        return self.prefix / ".venv"

    def manifest(self) -> Manifest:
        return Manifest.read(self.at(self.prefix) / "manifest.json")

    def must(self, *command: str, doing: str, watched: bool = False) -> str:
        """stdout. Raises StreamdError with the last line that it complained with."""
        done = self.run(command, watched=watched)
        if done.returncode:
            said = done.stderr or done.stdout or f"{command[0]} ended with {done.returncode}"
            log.debug("%s: %s", " ".join(command), said)
            raise StreamdError(f"{doing}: {gist_of(said)}")
        return done.stdout or ""

    def systemctl(self, *arguments: str, doing: str) -> str:
        return self.must("systemctl", *self.offline, *arguments, doing=doing)

    @property
    def offline(self) -> tuple[str, ...]:
        """What systemctl is told of a machine that does not run."""
        return () if self.live else (f"--root={self.root}",)

    def check(self, *, as_root: bool) -> None:
        """Raises StreamdError, in one line, when this cannot work."""
        if not self.live:
            return
        if not self.at(Path("/run/systemd/system")).is_dir():
            raise StreamdError(
                "systemd does not run here; `streamd run` needs none, --root DIR prepares another machine"
            )
        if as_root and os.geteuid() != 0:
            raise StreamdError("needs root: sudo streamd service, or sudo make install")


def gist_of(said: str) -> str:
    """The line that matters most: hints follow errors."""
    lines = [line for line in said.splitlines() if line.strip()] or [""]
    errors = [line for line in lines if line.lower().startswith("error")]
    return (errors or lines)[-1].strip()


def remove(place: Path, kind: str) -> None:
    """A directory that others have put something into stays."""
    if place.is_symlink() or place.is_file():
        place.unlink()
    elif kind == "tree":
        shutil.rmtree(place, ignore_errors=True)
    elif place.is_dir() and not any(place.iterdir()):
        place.rmdir()
