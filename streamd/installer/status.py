"""What `streamd service status` shows."""

from __future__ import annotations

import os
import tomllib

from streamd.errors import StreamdError, UsageError
from streamd.installer.machine import CONFIGURATION, Machine
from streamd.installer.service import RUNS, Service
from streamd.installer.versions import Versions

_PROPERTIES = (
    "LoadState",
    "ActiveState",
    "SubState",
    "StatusText",
    "NRestarts",
    "Result",
    "UnitFileState",
    "ActiveEnterTimestamp",
)


def status(machine: Machine) -> None:
    """Raises StreamdError when it does not run."""
    if not machine.live:
        raise UsageError(f"status: the machine below {machine.root} does not run")
    shown = Service(machine).properties(*_PROPERTIES)
    if shown.get("LoadState") != "loaded":
        raise StreamdError("not installed: sudo streamd service install")
    _report_versions(machine)
    since = f" since {shown['ActiveEnterTimestamp']}" if shown.get("ActiveEnterTimestamp") else ""
    state = f"{shown.get('ActiveState')} ({shown.get('SubState')}){since}"
    machine.report(f"state: {state}; {shown.get('UnitFileState')} at boot")
    machine.report(f"status: {shown.get('StatusText') or '-'}")
    machine.report(f"restarts after faults: {shown.get('NRestarts')}")
    machine.report(f"page: {page_address(machine)}")
    if shown.get("ActiveState") not in RUNS:
        raise StreamdError(f"not running ({shown.get('Result')}): journalctl -u streamd -e shows why")


def summary(machine: Machine) -> None:
    """What an installation ends with."""
    machine.report(f"status: {Service(machine).properties('StatusText').get('StatusText') or 'running'}")
    machine.report(f"page: {page_address(machine)}")


def page_address(machine: Machine) -> str:
    """By the configuration."""
    try:
        server = tomllib.loads(machine.place(CONFIGURATION).read_text()).get("server", {})
    except (OSError, ValueError):
        server = {}
    host, _, port = str(server.get("listen", "127.0.0.1:8080")).rpartition(":")
    host = os.uname().nodename if host in ("0.0.0.0", "[::]") else host
    return f"{'https' if server.get('tls_certificate') else 'http'}://{host}:{port}/"


def _report_versions(machine: Machine) -> None:
    versions = Versions(machine, machine.manifest())
    if (current := versions.current) is None:
        return
    machine.report(f"version: {current}, in {current.path}")
    if reason := current.fault(machine.run):
        machine.report(f"its environment does not work: {reason}; install it again")
    if (previous := versions.previous) is not None:
        machine.report(f"before it: {previous}; `streamd service install --rollback` goes back to it")
