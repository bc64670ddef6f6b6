"""The versions side by side, and the two links to the one that runs and the one that ran before.

    PREFIX/versions/0.1.0-5f3a9c21/    one Python environment each
    PREFIX/current -> versions/...     what the unit starts
    PREFIX/previous -> versions/...    what `install --rollback` goes back to

A version without its record is half built. The only environment of 0.1.0, PREFIX/.venv, is taken over as a version.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from streamd import __version__
from streamd.installer import files
from streamd.installer.commands import Run, error_line
from streamd.installer.machine import Machine
from streamd.installer.manifest import Manifest

_RECORD = "streamd.json"
_WORKS = "import sys; print('%d.%d' % sys.version_info[:2]); import streamd.daemon"


@dataclass(frozen=True)
class Version:
    """An environment with streamd."""

    path: Path
    """On the target machine."""
    place: Path
    """On this one; the same unless another machine is laid out."""

    @property
    def interpreter(self) -> Path:
        return self.place / "bin" / "python"

    @property
    def record(self) -> dict[str, str]:
        """``version`` and ``fingerprint``. Empty: half built, or not made by the installer."""
        try:
            content = json.loads((self.place / _RECORD).read_text())
        except (OSError, ValueError):
            return {}
        return content if isinstance(content, dict) else {}

    def complete(self, fingerprint: str, version: str = __version__) -> None:
        """All files of it must be on the disk by now."""
        content = {"version": version, "fingerprint": fingerprint}
        files.write(self.place / _RECORD, json.dumps(content).encode())

    def remove(self) -> None:
        files.remove(self.place / _RECORD)  # first: what is half removed is not complete
        files.remove(self.place, "tree")

    def fault(self, run: Run) -> str:
        """Why it does not work, empty when it does. An upgrade of the system can take its Python away."""
        done = run([str(self.interpreter), "-I", "-c", _WORKS])
        if not done.returncode:
            return ""
        made, now = self._made_for(), done.stdout.strip()
        if made and now and made != now:
            return f"made for Python {made}, and this machine has {now} now"
        return error_line(done.stderr)

    def _made_for(self) -> str:
        try:
            lines = (self.place / "pyvenv.cfg").read_text().splitlines()
        except OSError:
            return ""
        found = [line.partition("=")[2].strip() for line in lines if line.split("=")[0].strip() == "version"]
        return ".".join(found[0].split(".")[:2]) if found else ""

    def __str__(self) -> str:
        return self.path.name if self.path.parent.name == "versions" else str(self.path)


class Versions:
    def __init__(self, machine: Machine, manifest: Manifest) -> None:
        self._machine = machine
        self._manifest = manifest
        self._folder = machine.prefix / "versions"
        self._single = machine.prefix / ".venv"
        self.link = machine.prefix / "current"

    @property
    def current(self) -> Version | None:
        return self._linked("current")

    @property
    def previous(self) -> Version | None:
        found = self._linked("previous")
        return None if found == self.current else found

    def at(self, path: Path) -> Version:
        return Version(path, self._machine.place(path))

    def find(self, fingerprint: str) -> Version | None:
        """A complete one of the same code and lock."""
        return next((one for one in self._own() if one.record.get("fingerprint") == fingerprint), None)

    def containing(self, path: Path) -> Version | None:
        """The one whose environment ``path`` is, on this machine."""
        return next((one for one in self._own() if one.place.resolve() == path.resolve()), None)

    def new(self, fingerprint: str) -> Version:
        """A free place."""
        self._manifest.add(self._folder, "tree")
        name = f"{__version__}-{fingerprint[:8]}"
        taken = {one.path.name for one in self._own()}
        names = [name, *(f"{name}.{number}" for number in range(2, len(taken) + 3))]
        return self.at(self._folder / next(free for free in names if free not in taken))

    def switch(self, version: Version) -> None:
        """At no moment is there no current one, and what was current can be gone back to."""
        links = [("current", version)]
        if (before := self.current) is not None and before != version:
            back = version == self.previous
            links.insert(1 if back else 0, ("previous", before))
        for name, target in links:
            self._manifest.add(self._machine.prefix / name, "link")
            inside = target.path.is_relative_to(self._machine.prefix)
            path = target.path.relative_to(self._machine.prefix) if inside else target.path
            files.link(self._machine.place(self._machine.prefix / name), path)

    def adopt(self) -> None:
        """The environment of 0.1.0, so that the unit may go through the link before there is another version."""
        single = self.at(self._single)
        if (
            self.current is not None
            or self._manifest.made.get(str(self._single)) != "tree"
            or not single.place.exists()
        ):
            return
        if self._manifest.fingerprint:
            single.complete(self._manifest.fingerprint, self._manifest.version)
        self.switch(single)

    def sweep(self, *keep: Version | None) -> None:
        """Removes what is half built, and what is neither current nor previous nor among ``keep``."""
        for one in self._own():
            if one not in (self.current, self.previous, *keep):
                one.remove()
                if one.path == self._single:  # a drop-in of the user may name it
                    self._manifest.add(self._single, "link")
                    files.link(one.place, Path(self.link.name))

    def _own(self) -> Iterator[Version]:
        folder = self._machine.place(self._folder)
        for place in sorted(folder.iterdir()) if folder.is_dir() else ():
            yield self.at(self._folder / place.name)
        if self._manifest.made.get(str(self._single)) == "tree" and self._machine.place(self._single).exists():
            yield self.at(self._single)

    def _linked(self, name: str) -> Version | None:
        try:
            target = os.readlink(self._machine.place(self._machine.prefix / name))
        except OSError:
            return None
        version = self.at(self._machine.prefix / target)
        return version if version.place.exists() else None
