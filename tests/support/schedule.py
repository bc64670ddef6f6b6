"""Which tests stay together when several processes share them, and which begin first: `pytest --dist loadscope`.

pytest-xdist's own groups (`loadgroup`) do not reach its controller with pytest 9.2: they are written into an attribute
of tests that is no more (pytest-xdist 3.8, ``_nodeid``).
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling

ROOT = Path(__file__).parents[2]
FOLDERS = ("soak", "e2e", "integration", "configs", "unit")
"""Of tests: those with the longest tests first, for what is short fills up the end."""
DEALT_OUT = ("tests/soak/", "tests/e2e/")
"""Here a test takes seconds, and has a daemon of its own unless its file says otherwise."""
SHARES = re.compile(r'scope="(module|class)"|\bmodule_daemon\b')


class Schedule(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
    """A file stays together, for its tests may share what is made once; but those of e2e that share nothing are dealt
    out one by one."""

    def _split_scope(self, nodeid: str) -> str:
        file, _, _ = nodeid.partition("::")
        return file if _stays_together(file) else nodeid


@cache
def _stays_together(file: str) -> bool:
    return not file.startswith(DEALT_OUT) or bool(SHARES.search((ROOT / file).read_text()))


def longest_first(items: list[pytest.Item]) -> None:
    """So that none of the long ones is left over at the end."""
    items.sort(key=_rank)


def _rank(item: pytest.Item) -> tuple[int, bool]:
    file = item.path.relative_to(ROOT).as_posix()
    folder = file.split("/")[1]
    return FOLDERS.index(folder) if folder in FOLDERS else len(FOLDERS), not _stays_together(file)
