"""The text of the systemd unit, and of the drop-in under which a new version is tried."""

from __future__ import annotations

import re
from pathlib import Path

TRIAL = Path("/run/systemd/system/streamd.service.d/zz-trial.conf")
"""Below /run: a power cut forgets it, and the machine boots with the version before."""
_EXEC = re.compile(r"^(ExecStart=)\S+( -m streamd .*)$", re.MULTILINE)
_GROUPS = re.compile(r"^SupplementaryGroups=video render$", re.MULTILINE)
_TRIAL = """# Written by `streamd service install` while it tries {python}.
# The first start takes the new version; a start after that, by systemd itself too, takes the current one.
[Service]
ExecStart=
ExecStart=/bin/sh -c 'if mkdir "$$RUNTIME_DIRECTORY/trial-{name}" 2>/dev/null; then \
    exec {python}{arguments}; fi; \
    exec {current}{arguments}'
RuntimeDirectoryPreserve=yes
# 78 would end it for good. The pause lets the installer read the log before the other version writes to it.
RestartPreventExitStatus=
RestartSec=3s
SyslogIdentifier=streamd
"""


def render(text: str, current: Path, groups: set[str] | None) -> str:
    """A shipped unit for this machine, started through the link ``current``. A group that a machine does not have
    would keep the service from starting: a box without graphics has no ``render``. None: unknown."""
    names = [name for name in ("video", "render") if groups is None or name in groups]
    line = f"SupplementaryGroups={' '.join(names)}" if names else "# SupplementaryGroups: neither video nor render"
    assert _EXEC.search(text)
    assert _GROUPS.search(text)
    return _GROUPS.sub(line, _EXEC.sub(rf"\g<1>{current}/bin/python\g<2>", text))


def command(text: str) -> str:
    """What a unit starts."""
    found = _EXEC.search(text)
    assert found
    return found[0].removeprefix(found[1])


def trial(command: str, python: Path, name: str) -> str:
    """The drop-in. ``command`` starts the current version, ``name`` is another for each trial."""
    current, space, arguments = command.partition(" ")
    return _TRIAL.format(python=python, current=current, arguments=space + arguments, name=name)


def groups(file: Path) -> set[str] | None:
    """The names in /etc/group."""
    try:
        return {line.partition(":")[0] for line in file.read_text().splitlines()}
    except OSError:
        return None
