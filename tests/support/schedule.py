"""Which tests stay together when several processes share them, and which begin first: for `pytest --dist loadgroup`."""

from __future__ import annotations

from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
FOLDERS = ("soak", "e2e", "integration", "configs", "unit")
"""Those with the longest tests first: what is short fills up the end."""
DEALT_OUT = {"soak", "e2e"}
"""Here a test takes seconds, and has a daemon of its own unless a fixture says otherwise."""
SHARED = {"class", "module", "package"}


def arrange(items: list[pytest.Item]) -> None:
    """A file is one group, for its tests may share what is made once; but those of e2e that share nothing are dealt out
    one by one. The longest begin first, so that none of them is left over at the end."""
    for item in items:
        if _folder(item) not in DEALT_OUT or _shares(item):
            item.add_marker(pytest.mark.xdist_group(item.path.relative_to(TESTS).as_posix()))
    items.sort(key=_rank)


def _folder(item: pytest.Item) -> str:
    return item.path.relative_to(TESTS).parts[0]


def _shares(item: pytest.Item) -> bool:
    """Whether it has a fixture that is made once for several tests, though not for all."""
    found = item._fixtureinfo.name2fixturedefs.values() if isinstance(item, pytest.Function) else ()
    return any(each.scope in SHARED for definitions in found for each in definitions)


def _rank(item: pytest.Item) -> tuple[int, bool]:
    folder = _folder(item)
    is_alone = item.get_closest_marker("xdist_group") is None
    return FOLDERS.index(folder) if folder in FOLDERS else len(FOLDERS), is_alone
