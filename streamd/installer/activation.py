"""Makes a version the one that the service runs, and goes back when it does not run."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import Path

from streamd.errors import StreamdError
from streamd.installer import files, package, unit
from streamd.installer.machine import SERVICE, UNIT, Machine
from streamd.installer.manifest import Manifest
from streamd.installer.service import Service
from streamd.installer.versions import Version, Versions

_LOG = "the log: journalctl -u streamd -e"


@dataclass(frozen=True)
class _Unit:
    """The unit file as it was, and as the manifest had it."""

    content: bytes | None
    listed: str | None


class Activation:
    def __init__(self, machine: Machine, manifest: Manifest, versions: Versions, service: Service) -> None:
        self._machine = machine
        self._manifest = manifest
        self._versions = versions
        self._service = service

    def activate(self, version: Version) -> None:
        """Makes it the current one, enabled and running. Raises StreamdError when it does not run; a version that was
        current before then runs again."""
        before = self._versions.current
        if not self._machine.live:
            self._versions.switch(version)
            self._write_unit(version)
            self._service.enable()
        elif before is None or before == version:
            self._versions.switch(version)
            self._write_unit(version)
            self._start()
        else:
            self._try(version, before)
            self._versions.switch(version)
            self._end_trial()
            self._look_for_another_command()
        if self._machine.live:
            self._manifest.all_started()

    def _look_for_another_command(self) -> None:
        command, link = self._service.command(), self._versions.link
        if command and not command.startswith(f"{link}/"):
            self._machine.report(
                f"a drop-in starts {command.split()[0]}: write {link}/bin/python there, or it starts that"
            )

    def _start(self) -> None:
        """Unless it runs and nothing has changed."""
        self._service.enable()
        self._end_trial()
        if self._service.is_active() and not self._manifest.pending:
            self._machine.report("running already, nothing has changed")
            return
        self._machine.report("starting; the first time, the network is prepared for this CPU")
        if reason := self._service.restart():
            raise StreamdError(f"the service does not start: {reason}; {_LOG}")

    def _try(self, version: Version, before: Version) -> None:
        """Starts it by a drop-in, and changes nothing that lasts but the unit. Whenever this process is killed, the
        next start of the service takes the version before. Raises StreamdError when the new one does not run."""
        old = self._unit()
        self._machine.report(f"starting {version} in place of {before}")
        try:
            self._write_unit(version)
            self._end_trial()  # of one that was killed
            command = self._service.command() or unit.command(self._machine.place(UNIT).read_text())
            drop_in = unit.trial(command, version.path / "bin" / "python", uuid.uuid4().hex[:8])
            files.write(self._machine.place(unit.TRIAL), drop_in.encode())
            self._service.enable()
            reason = self._service.restart(version.place.resolve())
        except BaseException:
            self._go_back(old)
            raise
        if reason:
            again = self._go_back(old)
            state = f"nor does {before}: {again}" if again else f"{before} runs again"
            raise StreamdError(f"{version} does not start: {reason}; {state}; {_LOG}")

    def _go_back(self, old: _Unit) -> str:
        """To the unit as it was, and the current version. Why that does not run, empty when it does."""
        if old.content is not None:
            files.write(self._machine.place(UNIT), old.content)
        if old.listed is not None:
            self._manifest.add(UNIT, old.listed)
        self._end_trial()
        reason = self._service.restart()
        if not reason:
            self._manifest.all_started()
        return reason

    def _end_trial(self) -> None:
        for path in (unit.TRIAL, unit.TRIAL.parent):
            files.remove(self._machine.place(path))
        self._service.reload_units()

    # -- the unit

    def _unit(self) -> _Unit:
        place = self._machine.place(UNIT)
        return _Unit(place.read_bytes() if place.exists() else None, self._manifest.made.get(str(UNIT)))

    def _write_unit(self, version: Version) -> None:
        """From the version's own files. One that was edited by hand is kept aside."""
        own = version.place / "share" / "streamd" / "systemd" / SERVICE
        shipped = own if own.exists() else package.shipped(f"systemd/{SERVICE}")
        groups = unit.groups(self._machine.place(Path("/etc/group")))
        content = unit.render(shipped.read_text(), self._versions.link, groups).encode()
        old, place = self._unit(), self._machine.place(UNIT)
        self._machine.report(f"unit: {UNIT}")
        if old.content not in (None, content) and package.sha256(old.content or b"") != old.listed:
            files.write(place.with_name(f"{place.name}.edited"), old.content or b"")
            self._machine.report(f"{UNIT}: was edited by hand; kept as {UNIT.name}.edited")
        if old.listed is None:
            self._manifest.add(UNIT, package.sha256(content))
        if old.content != content:
            self._manifest.changed("unit")
            files.write(place, content)
        self._manifest.add(UNIT, package.sha256(content))
