"""Removes what was installed."""

from __future__ import annotations

from pathlib import Path

from streamd.installer import files, unit
from streamd.installer.machine import CACHE, CONFIGURATION, KEPT, SERVICE, UNIT, Machine
from streamd.installer.manifest import Manifest


def uninstall(machine: Machine, *, purge: bool) -> None:
    """All that the manifest lists, all versions among it; ``purge``: configuration, recordings and models too."""
    manifest = machine.manifest()
    if not manifest.made and not purge:
        machine.report("not installed: nothing to remove")
        return
    if str(UNIT) in manifest.made:
        if machine.live:
            machine.run(["systemctl", "stop", SERVICE])
        machine.run(["systemctl", *machine.systemctl_root, "disable", SERVICE])
    _remove_files(machine, manifest, purge=purge)
    if machine.live:
        machine.systemctl("daemon-reload", doing="removing the unit")
        machine.run(["systemctl", "reset-failed", SERVICE])
    left = [str(path) for path in KEPT[:2] if machine.place(path).exists()]
    machine.report("removed" + (f"; kept {' and '.join(left)}, which `uninstall --purge` removes" if left else ""))
    _remove_versions(machine, manifest)


def _remove_files(machine: Machine, manifest: Manifest, *, purge: bool) -> None:
    """All but the versions."""
    for name, kind in reversed(manifest.made.items()):
        path = Path(name)
        kept = not purge and path.is_relative_to(CONFIGURATION.parent)
        if kind != "tree" and path != machine.prefix and not kept:
            files.remove(machine.place(path), kind)
    for path in (unit.TRIAL, unit.TRIAL.parent):
        files.remove(machine.place(path))
    for path in (*CACHE, *(KEPT if purge else ())):
        files.remove(machine.place(path), "tree")


def _remove_versions(machine: Machine, manifest: Manifest) -> None:
    """Last, since one of them may run this; and the list of them after them, so that it can be repeated."""
    for path, kind in manifest.made.items():
        if kind == "tree":
            files.remove(machine.place(Path(path)), kind)
    files.remove(manifest.file)
    if str(machine.prefix) in manifest.made:
        files.remove(machine.place(machine.prefix))
