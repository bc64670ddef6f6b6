"""How many files and sockets this process may have open."""

from __future__ import annotations

import resource


def ensure_descriptors(wanted: int) -> int:
    """Raise our own limit to this many, as far as the system lets us. Returns the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return soft if soft != resource.RLIM_INFINITY else wanted
    raised = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
    except (OSError, ValueError):  # a sandbox, or a kernel with a limit of its own (fs.nr_open)
        return soft
    return raised
