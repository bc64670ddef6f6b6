"""streamd as a systemd service of this machine: put in place, looked at, taken away.

Needs Python's standard library only: `make install` runs it before anything else is there. All that it makes is in
a manifest, written before the thing itself, so that what was cut short can be taken away too.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from streamd.errors import UsageError
from streamd.installer.install import Installer
from streamd.installer.running import start, status, uninstall
from streamd.installer.site import Site


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("install", "status", "uninstall"))
    parser.add_argument("--prefix", type=Path, default=Path("/opt/streamd"), metavar="DIR", help="where it goes")
    parser.add_argument("--root", type=Path, default=Path("/"), metavar="DIR", help="lay out another machine's files")
    parser.add_argument("--python", type=Path, metavar="FILE", help="install: what makes the environment")
    parser.add_argument("--environment", type=Path, metavar="DIR", help="install: use this one instead")
    parser.add_argument("--torch-index", metavar="URL", help="install: take torch from there, such as a CPU build")
    parser.add_argument("--purge", action="store_true", help="uninstall: configuration and recordings too")


def act(options: argparse.Namespace) -> None:
    """Raises StreamdError."""
    site = Site(options.root.resolve(), options.prefix)
    if not options.prefix.is_absolute():
        raise UsageError(f"--prefix {options.prefix}: not an absolute path")
    site.check(as_root=options.action != "status")
    if options.action == "status":
        status(site)
        return
    os.umask(0o022)  # the service is not root, and must read what we write
    if options.action == "uninstall":
        uninstall(site, purge=options.purge)
        return
    installer = Installer(site)
    installer.install(options.python, options.environment, options.torch_index)
    start(site, installer.manifest)
