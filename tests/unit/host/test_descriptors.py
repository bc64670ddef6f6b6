from __future__ import annotations

import resource

import pytest

from streamd.host.descriptors import ensure_descriptors

INFINITE = resource.RLIM_INFINITY


@pytest.mark.parametrize(
    ("limits", "wanted", "result", "changed"),
    [
        ((1024, 4096), 1500, 1500, (1500, 4096)),
        ((1024, 4096), 5000, 4096, (4096, 4096)),
        ((1024, INFINITE), 5000, 5000, (5000, INFINITE)),
        ((2048, 4096), 1500, 2048, None),
        ((INFINITE, INFINITE), 1500, 1500, None),
    ],
)
def test_the_limit_is_raised_as_far_as_it_goes(
    limits: tuple[int, int],
    wanted: int,
    result: int,
    changed: tuple[int, int] | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda which: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda which, new: calls.append(new))
    assert ensure_descriptors(wanted) == result
    assert calls == ([changed] if changed else [])
