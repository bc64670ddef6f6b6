"""Puts the service in place, or another version of it: built beside the one that runs, checked, and switched to.

Safe to repeat, and to cut short anywhere: until the new version runs as the service, the old one stays the current one.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

from streamd.errors import ConfigError, Problem, StreamdError, UsageError
from streamd.installer import environment, files, package
from streamd.installer.activation import Activation
from streamd.installer.machine import COMMAND, CONFIGURATION, SECRETS, Machine
from streamd.installer.manifest import Manifest
from streamd.installer.service import Service
from streamd.installer.status import summary
from streamd.installer.versions import Version, Versions


@dataclass(frozen=True)
class Options:
    """What to install, by the options of the command line."""

    python: Path | None = None
    environment: Path | None = None
    torch: str | None = None
    """Install it too, from the index with this address; empty: from the usual one."""


class Installer:
    """Its machine has to be locked."""

    def __init__(self, machine: Machine) -> None:
        self.manifest: Manifest = machine.manifest()
        self._machine = machine
        self._versions = Versions(machine, self.manifest)
        self._service = Service(machine)

    def install(self, choice: Options) -> None:
        """Raises StreamdError, ConfigError for a bad configuration."""
        self._prepare()
        version = self._version(choice)
        self._configuration()
        self._switch(version)

    def roll_back(self) -> None:
        """To the version before. Raises StreamdError, ConfigError when that one does not like the configuration."""
        self._prepare()
        version = self._versions.previous
        if version is None:
            raise StreamdError("there is no version to go back to")
        if reason := version.fault(self._machine.run):
            raise StreamdError(f"{version} does not work any more: {reason}")
        self._switch(version)

    def _prepare(self) -> None:
        if not any(self._machine.place(self._machine.prefix).iterdir()):
            self.manifest.add(self._machine.prefix, "directory")
        self._versions.adopt()

    def _switch(self, version: Version) -> None:
        self._check(version)
        Activation(self._machine, self.manifest, self._versions, self._service).activate(version)
        self._command()
        self._versions.sweep(version)
        if self._machine.live:
            summary(self._machine)
        else:
            self._machine.report(f"laid out below {self._machine.root}; it starts with that machine")

    # -- the version

    def _version(self, choice: Options) -> Version:
        """One that is there, when it is of this code and this lock and works; else a new one."""
        if choice.environment is not None:
            return self._given(choice.environment)
        fingerprint = package.fingerprint()
        version = self._versions.containing(Path(sys.prefix))
        if version is not None:
            self._machine.report(f"environment: {version.path}, which runs this command")
            if version.record.get("fingerprint", "").split(" ")[0] != fingerprint.split(" ")[0]:
                version.complete(fingerprint)
                self.manifest.changed("environment")
            return version
        version = self._versions.find(fingerprint)
        if version is not None and not version.fault(self._machine.run):
            self._machine.report(f"environment: {version.path}, up to date")
            return version
        running = self._service.environment()
        self._versions.sweep(self._versions.containing(running) if running else None)
        version = self._versions.new(fingerprint)
        environment.build(self._machine, version, choice.python, choice.torch)
        version.complete(fingerprint)
        return version

    def _given(self, path: Path) -> Version:
        version = self._versions.at(path)
        if not version.interpreter.exists():
            raise UsageError(f"{path}: is no Python environment")
        return version

    def _check(self, version: Version) -> None:
        """Whether this version takes the configuration."""
        file = str(self._machine.place(CONFIGURATION))
        done = self._machine.run([str(version.interpreter), "-I", "-m", "streamd", "check", file])
        lines = [line.removeprefix("streamd: ") for line in done.stderr.strip().splitlines()]
        if done.returncode == ConfigError.exit_code:
            parts = [line.partition(": ") for line in lines]
            raise ConfigError([Problem(path, "", reason) for path, _, reason in parts])
        if done.returncode:
            raise StreamdError(f"{version.path}: does not work: {lines[-1] if lines else version.interpreter}")

    # -- the files

    def _configuration(self) -> None:
        self._directory(CONFIGURATION.parent)
        self._directory(SECRETS, 0o700)
        if self._machine.place(CONFIGURATION).exists():
            self._machine.report(f"configuration: {CONFIGURATION}, kept as it is")
            return
        content = package.shipped("systemd/streamd.toml").read_bytes()
        self.manifest.add(CONFIGURATION, package.sha256(content))
        files.write(self._machine.place(CONFIGURATION), content)
        self._machine.report(f"configuration: {CONFIGURATION}, with the demo clip")

    def _directory(self, path: Path, mode: int = 0o755) -> None:
        if not self._machine.place(path).exists():
            self.manifest.add(path, "directory")
            self._machine.place(path).mkdir(mode=mode, parents=True)

    def _command(self) -> None:
        """``streamd`` on everybody's path, unless there is another."""
        place, target = self._machine.place(COMMAND), self._versions.link / "bin" / "streamd"
        ours = place.is_symlink() and str(COMMAND) in self.manifest.made
        if not self._machine.place(target).exists():
            if ours:
                place.unlink()
        elif not ours and (place.exists() or place.is_symlink()):
            self._machine.report(f"command: {COMMAND} is there already and not ours; this one is {target}")
        else:
            self.manifest.add(COMMAND, "link")
            files.link(place, target)
