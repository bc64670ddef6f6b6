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


def memory_free_bytes(proc: Path = PROC, sys: Path = SYS) -> int:
    """What can still be had: of the machine, and below each limit of our group and those that it is in."""
    free = []
    with suppress(OSError, ValueError):
        facts = dict(line.split(":", 1) for line in (proc / "meminfo").read_text().splitlines())
        free.append(1024 * int(facts["MemAvailable"].split()[0]))
    for group in _groups("memory", proc, sys):
        for limit, used in (("memory.max", "memory.current"), ("memory.limit_in_bytes", "memory.usage_in_bytes")):
            with suppress(OSError, ValueError):
                taken = int((group / used).read_text()) - _cached_bytes(group)
                free.append(int((group / limit).read_text()) - taken)
    return max(0, min(free, default=machine_memory_bytes()))


def _cached_bytes(group: Path) -> int:
    """Of files, which the kernel gives up first; they count as used."""
    with suppress(OSError, ValueError):
        facts = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return int(facts.get("inactive_file", facts.get("total_inactive_file", 0)))
    return 0


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
