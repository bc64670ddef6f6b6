"""Builds one version: a Python environment with streamd and its locked dependencies."""

from __future__ import annotations

import sys
from pathlib import Path

from streamd import __version__
from streamd.errors import StreamdError
from streamd.installer import files, package
from streamd.installer.machine import Machine
from streamd.installer.versions import Version

_SYSTEM_PYTHON = Path("/usr/bin/python3")
_IS_FIT = "import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))"
_HIDDEN = ("home", "root", "run", "tmp")
"""From a service, by ProtectHome and PrivateTmp."""


def build(machine: Machine, version: Version, python: Path | None, torch: str | None) -> None:
    """Returns when it runs and is on the disk, all but its record. Raises StreamdError."""
    chosen = str(python or find_python(machine))
    machine.report(f"environment: {version.path}, made with {chosen}")
    machine.run_checked(chosen, "-m", "venv", str(version.place), doing="making the environment")
    machine.report(f"environment: installing streamd {__version__} and what it needs; minutes, the first time")
    scratch = version.place / "build"
    _install(machine, version, scratch, torch)
    machine.try_start(version.interpreter, scratch)
    files.remove(scratch, "tree")
    machine.run_checked("sync", "--file-system", str(version.place), doing="writing to the disk")


def _install(machine: Machine, version: Version, scratch: Path, torch: str | None) -> None:
    watched = sys.stdout.isatty()
    pip = [str(version.interpreter), "-m", "pip", "install", "--no-cache-dir", "--no-input"]
    pip += ["--disable-pip-version-check", *(() if watched else ("--quiet",))]
    locked = ("--no-deps", "--require-hashes", "--requirement")
    steps: dict[str, tuple[str, ...]] = {"installing what streamd needs": (*locked, str(package.shipped(package.RUN)))}
    if torch:
        steps[f"installing torch from {torch}"] = ("--index-url", torch, *package.torch_requirements())
    elif torch is not None:
        steps["installing torch"] = (*locked, str(package.shipped(package.TORCH)))
    source = package.source()
    if isinstance(source, Path):  # a build leaves files of root's behind, which nobody wants in a checkout
        source = str(package.copy_sources(source, scratch))
    steps["installing streamd"] = ("--no-deps", "--no-build-isolation", source)
    for doing, arguments in steps.items():
        machine.run_checked(*pip, *arguments, doing=doing, watched=watched)


def find_python(machine: Machine) -> Path:
    """A Python that a service can see. Raises StreamdError."""
    own = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
    for candidate in (own, _SYSTEM_PYTHON):
        if not candidate.exists() or candidate.resolve().parts[1] in _HIDDEN:
            continue
        if not machine.run([str(candidate), "-c", _IS_FIT]).returncode:
            return candidate
    raise StreamdError(
        "no Python 3.11 or newer with venv (sudo apt-get install python3-venv) that services can see, "
        f"as they cannot {own}: name one by --python"
    )
