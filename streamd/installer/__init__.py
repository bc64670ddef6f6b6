"""streamd as a systemd service of this machine: installed, upgraded, inspected, removed.

Needs Python's standard library only: `make install` runs it before anything else is there.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from streamd.errors import UsageError
from streamd.installer.install import Installer, Options
from streamd.installer.machine import Machine
from streamd.installer.status import status
from streamd.installer.uninstall import uninstall

HELP = "streamd as a systemd service: installed, inspected, removed."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("install", "status", "uninstall"))
    parser.add_argument("--prefix", type=Path, default=Path("/opt/streamd"), metavar="DIR", help="where it goes")
    parser.add_argument("--root", type=Path, default=Path("/"), metavar="DIR", help="lay out another machine's files")
    parser.add_argument("--python", type=Path, metavar="FILE", help="install: what makes the environment")
    parser.add_argument("--environment", type=Path, metavar="DIR", help="install: use this one instead")
    parser.add_argument(
        "--torch", nargs="?", const="", metavar="URL", help='install: torch too, for runtime = "torch"; from this index'
    )
    parser.add_argument("--rollback", action="store_true", help="install: go back to the version before")
    parser.add_argument("--purge", action="store_true", help="uninstall: configuration and recordings too")


def act(options: argparse.Namespace) -> None:
    """Raises StreamdError."""
    machine = Machine(options.root.resolve(), options.prefix)
    if not options.prefix.is_absolute():
        raise UsageError(f"--prefix {options.prefix}: not an absolute path")
    choice = Options(options.python, options.environment, options.torch)
    if options.rollback and (options.action != "install" or choice != Options()):
        raise UsageError("--rollback goes with no other choice, and with install only")
    machine.require(root_user=options.action != "status")
    if options.action == "status":
        status(machine)
        return
    os.umask(0o022)  # the service is not root, and must read what we write
    with machine.locked():
        if options.action == "uninstall":
            uninstall(machine, purge=options.purge)
        elif options.rollback:
            Installer(machine).roll_back()
        else:
            Installer(machine).install(choice)
