"""Limits of control groups, versions 1 and 2: those of a container or a systemd unit."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

PROC, SYS = Path("/proc"), Path("/sys/fs/cgroup")
_NO_LIMIT_BYTES = 1 << 60
"""Version 1 writes "none" as a number near 2^63."""


def memory_limit_bytes(proc: Path = PROC, sys: Path = SYS) -> int | None:
    """The tightest limit of our group and those that it is in; None without one."""
    limits = []
    for group in _groups("memory", proc, sys):
        for name in ("memory.max", "memory.limit_in_bytes"):
            with suppress(OSError, ValueError):  # "max" is no number, and no limit
                limits.append(int((group / name).read_text()))
    return min((limit for limit in limits if limit < _NO_LIMIT_BYTES), default=None)


def cpu_limit(proc: Path = PROC, sys: Path = SYS) -> float | None:
    """How many cores' worth of time we get; None without a limit."""
    limits = []
    for group in _groups("cpu", proc, sys):
        with suppress(OSError, ValueError):
            quota, period = (group / "cpu.max").read_text().split()
            limits.append(int(quota) / int(period))
        with suppress(OSError, ValueError):
            quota, period = ((group / f"cpu.cfs_{part}_us").read_text() for part in ("quota", "period"))
            limits.append(int(quota) / int(period))
    return min((limit for limit in limits if limit > 0), default=None)  # version 1 writes "none" as -1


def _groups(controller: str, proc: Path, sys: Path) -> Iterator[Path]:
    """Our group's directory and those above it, up to the root that we can see."""
    with suppress(OSError, ValueError):
        for line in (proc / "self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and controller not in controllers.split(","):
                continue
            root = sys / controller if controllers else sys
            group = root / path.lstrip("/")
            yield from (folder for folder in (group, *group.parents) if folder.is_relative_to(root))


def machine_memory_bytes() -> int:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
