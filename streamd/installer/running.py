"""The service in systemd's hands: started, looked at, stopped and taken away."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path

from streamd.errors import StreamdError, UsageError
from streamd.installer.site import CACHE, CONFIGURATION, KEPT, UNIT, Manifest, Say, Site, remove


def start(site: Site, manifest: Manifest, say: Say = print) -> None:
    """Enabled and running, started anew only when something has changed. Returns when it is ready."""
    site.systemctl("enable", "streamd.service", doing="enabling the service")
    if not site.live:
        say(f"laid out below {site.root}; it starts with that machine")
        return
    site.systemctl("daemon-reload", doing="reading the unit")
    active = not site.run(["systemctl", "is-active", "--quiet", "streamd.service"]).returncode
    if active and not manifest.pending:
        say("running already, nothing has changed")
    else:
        say("starting; the first time, the network is prepared for this CPU")
        site.run(["systemctl", "reset-failed", "streamd.service"])
        if site.run(["systemctl", "restart", "streamd.service"]).returncode:
            log = site.run(["journalctl", "--unit=streamd", "--lines=10", "--output=cat", "--no-pager"]).stdout
            raise StreamdError(f"the service does not start; its last words:\n{log.strip()}")
    manifest.pending.clear()
    manifest.save()
    say(f"status: {_shown(site).get('StatusText') or 'running'}")
    say(f"page: {page_of(site.at(CONFIGURATION))}")


def status(site: Site, say: Say = print) -> None:
    """Raises StreamdError when it does not run."""
    if not site.live:
        raise UsageError(f"status: the machine below {site.root} does not run")
    manifest = site.manifest()
    shown = _shown(site)
    if shown.get("LoadState") != "loaded":
        raise StreamdError("not installed: sudo streamd service install")
    say(f"streamd {manifest.version} in {site.environment}")
    since = f" since {shown['ActiveEnterTimestamp']}" if shown.get("ActiveEnterTimestamp") else ""
    say(f"state: {shown.get('ActiveState')} ({shown.get('SubState')}){since}; {shown.get('UnitFileState')} at boot")
    say(f"status: {shown.get('StatusText') or '-'}")
    say(f"starts again after faults: {shown.get('NRestarts')}")
    say(f"page: {page_of(site.at(CONFIGURATION))}")
    if shown.get("ActiveState") not in ("active", "reloading"):
        raise StreamdError(f"not running ({shown.get('Result')}): journalctl -u streamd -e shows why")


def uninstall(site: Site, *, purge: bool, say: Say = print) -> None:
    """Removes what is in the manifest; ``purge``: configuration, recordings and models too."""
    manifest = site.manifest()
    if not manifest.made and not purge:
        say("not installed: nothing to remove")
        return
    if str(UNIT) in manifest.made:
        if site.live:
            site.run(["systemctl", "stop", "streamd.service"])
        site.run(["systemctl", *site.offline, "disable", "streamd.service"])
    kept = {
        str(path) for path in manifest.made if not purge and CONFIGURATION.parent in (Path(path), *Path(path).parents)
    }
    for path, kind in reversed([item for item in manifest.made.items() if item[0] not in kept]):
        if kind != "tree" and path != str(site.prefix):
            remove(site.at(Path(path)), kind)
    for path in (*CACHE, *(KEPT if purge else ())):
        remove(site.at(path), "tree")
    if site.live:
        site.systemctl("daemon-reload", doing="forgetting the unit")
        site.run(["systemctl", "reset-failed", "streamd.service"])
    left = [str(path) for path in KEPT[:2] if site.at(path).exists()]
    say("removed" + (f"; kept {' and '.join(left)}, which `uninstall --purge` removes" if left else ""))
    # At last, since this may be what runs us.
    manifest.file.unlink(missing_ok=True)
    for path, kind in manifest.made.items():
        if kind == "tree":
            remove(site.at(Path(path)), kind)
    if str(site.prefix) in manifest.made:
        remove(site.at(site.prefix), "directory")


def _shown(site: Site) -> dict[str, str]:
    keys = "LoadState,ActiveState,SubState,StatusText,NRestarts,Result,UnitFileState,ActiveEnterTimestamp"
    text = site.must("systemctl", "show", "streamd.service", f"--property={keys}", doing="asking systemd")
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def page_of(configuration: Path) -> str:
    """The address of the page, by the configuration."""
    try:
        server = tomllib.loads(configuration.read_text()).get("server", {})
    except (OSError, ValueError):
        server = {}
    host, _, port = str(server.get("listen", "127.0.0.1:8080")).rpartition(":")
    host = os.uname().nodename if host in ("0.0.0.0", "[::]") else host
    return f"{'https' if server.get('tls_certificate') else 'http'}://{host}:{port}/"
