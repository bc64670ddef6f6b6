"""Puts the service in place: environment, configuration, unit, command. Safe to repeat."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from streamd import __version__
from streamd.errors import ConfigError, Problem, StreamdError, UsageError
from streamd.installer.origin import (
    copy_of,
    find_python,
    fingerprint_of,
    groups_in,
    package,
    sha256_of,
    shipped,
    unit_for,
)
from streamd.installer.site import COMMAND, CONFIGURATION, SECRETS, UNIT, Say, Site


@dataclass
class Installer:
    site: Site
    say: Say = print

    def __post_init__(self) -> None:
        self.manifest = self.site.manifest()
        """Says in ``pending`` whether the service is to be started anew."""

    def install(self, python: Path | None, environment: Path | None, torch_index: str | None) -> None:
        """Safe to repeat. Raises StreamdError, ConfigError for a bad configuration."""
        self._directory(self.site.prefix)
        if environment is None:
            environment = self._environment(python, torch_index)
        interpreter = environment / "bin" / "python"
        if not self.site.at(interpreter).exists():
            raise UsageError(f"{environment}: is no Python environment")
        self._configuration()
        self._check(interpreter)
        self._unit(interpreter)
        self._command(environment)
        self.manifest.version = __version__
        self.manifest.save()

    # -- the environment

    def _environment(self, python: Path | None, torch_index: str | None) -> Path:
        """Made when there is none, and brought up to date when it holds something else."""
        environment = self.site.environment
        home = self.site.at(environment)
        wanted = package()
        fingerprint = fingerprint_of(wanted)
        if Path(sys.prefix).resolve() == home.resolve():
            self.say(f"environment: {environment}, which runs this command")
            if self.manifest.fingerprint.split(" ")[0] != fingerprint.split(" ")[0]:
                self.manifest.fingerprint = fingerprint
                self._changed("environment")
            return environment
        interpreter = str(home / "bin" / "python")
        whole = home.exists() and not self.site.run([interpreter, "-c", "import sys"]).returncode
        if whole and self.manifest.fingerprint == fingerprint:
            self.say(f"environment: {environment}, up to date")
            return environment
        if not whole:
            chosen = str(python or find_python(self.site))
            self.manifest.add(environment, "tree")
            self.say(f"environment: {environment}, made with {chosen}")
            self.site.must(chosen, "-m", "venv", "--clear", str(home), doing="making the environment")
        self.manifest.fingerprint = ""
        self.manifest.save()
        self.say(f"environment: installing streamd {__version__} and what it needs; minutes, the first time")
        self._pip(interpreter, wanted, torch_index)
        self.manifest.fingerprint = fingerprint
        self._changed("environment")
        return environment

    def _pip(self, interpreter: str, wanted: Path | str, torch_index: str | None) -> None:
        watched = sys.stdout.isatty()
        quiet = () if watched else ("--quiet",)
        pip = (
            interpreter,
            "-m",
            "pip",
            "install",
            *quiet,
            "--no-cache-dir",
            "--no-input",
            "--disable-pip-version-check",
        )
        if torch_index:
            doing = f"installing torch from {torch_index}"
            self.site.must(*pip, "--index-url", torch_index, "torch", "torchvision", doing=doing, watched=watched)
        with tempfile.TemporaryDirectory(prefix="streamd-install-") as folder:
            # A build leaves files behind, which nobody wants of root's in a checkout.
            what = str(copy_of(wanted, Path(folder))) if isinstance(wanted, Path) else wanted
            self.site.must(*pip, "--upgrade", what, doing="installing streamd", watched=watched)

    # -- the files

    def _configuration(self) -> None:
        self._directory(CONFIGURATION.parent)
        self._directory(SECRETS, 0o700)
        if self.site.at(CONFIGURATION).exists():
            self.say(f"configuration: {CONFIGURATION}, kept as it is")
        else:
            self._file(CONFIGURATION, shipped("streamd.toml"))
            self.say(f"configuration: {CONFIGURATION}, with the demo clip")

    def _check(self, interpreter: Path) -> None:
        file = str(self.site.at(CONFIGURATION))
        done = self.site.run([str(self.site.at(interpreter)), "-I", "-m", "streamd", "check", file])
        lines = [line.removeprefix("streamd: ") for line in done.stderr.strip().splitlines()]
        if done.returncode == ConfigError.exit_code:
            parts = [line.partition(": ") for line in lines]
            raise ConfigError([Problem(path, "", reason) for path, _, reason in parts])
        if done.returncode:
            raise StreamdError(f"the environment does not work: {lines[-1] if lines else interpreter}")

    def _unit(self, interpreter: Path) -> None:
        text = unit_for(shipped("streamd.service"), interpreter, groups_in(self.site.at(Path("/etc/group"))))
        if self._file(UNIT, text):
            self._changed("unit")
        self.say(f"unit: {UNIT}")

    def _command(self, environment: Path) -> None:
        """``streamd`` on everybody's path, unless there is another."""
        link, target = self.site.at(COMMAND), environment / "bin" / "streamd"
        if link.is_symlink() and str(COMMAND) in self.manifest.made:
            link.unlink()
        if not self.site.at(target).exists():
            return
        if link.exists() or link.is_symlink():
            self.say(f"command: {COMMAND} is there already and not ours; this one is {target}")
            return
        self.manifest.add(COMMAND, "link")
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(target)

    def _changed(self, what: str) -> None:
        self.manifest.pending.append(what)
        self.manifest.save()

    def _directory(self, path: Path, mode: int = 0o755) -> None:
        for missing in reversed([one for one in (path, *path.parents) if not self.site.at(one).exists()]):
            if str(missing).startswith((str(self.site.prefix), str(CONFIGURATION.parent))):
                self.manifest.add(missing, "directory")
            self.site.at(missing).mkdir(mode=mode if missing == path else 0o755, exist_ok=True)

    def _file(self, path: Path, text: str) -> bool:
        """Whether it is another than before. One that was edited by hand is kept aside."""
        place, content = self.site.at(path), text.encode()
        before = place.read_bytes() if place.exists() else None
        if before == content:
            return False
        if before is not None and sha256_of(before) != self.manifest.made.get(str(path)):
            place.rename(place.with_name(f"{place.name}.edited"))
            self.say(f"{path}: was not as we left it; kept as {path.name}.edited")
        self.manifest.add(path, sha256_of(content))
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
        place.chmod(0o644)
        return True
