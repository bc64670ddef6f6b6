"""Spans of time: what touches is one, what is taken away leaves the rest."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest

from streamd.sinks.recording.spans import Spans

EVER = (-1e9, 1e9)


def made(*spans: tuple[float, float]) -> Spans:
    found = Spans()
    for span in spans:
        found.add(*span)
    return found


@pytest.mark.parametrize(
    ("spans", "expected"),
    [
        ([(0, 10), (10, 20)], [(0, 20)]),
        ([(0, 10), (12, 20)], [(0, 20)]),
        ([(0, 10), (12.1, 20)], [(0, 10), (12.1, 20)]),
        ([(20, 30), (0, 10)], [(0, 10), (20, 30)]),
        ([(0, 10), (20, 30), (9, 21)], [(0, 30)]),
        ([(0, 30), (10, 20)], [(0, 30)]),
    ],
)
def test_what_touches_is_one(spans: list[tuple[float, float]], expected: list[tuple[float, float]]) -> None:
    assert made(*spans).within(*EVER) == expected


@pytest.mark.parametrize(
    ("gone", "expected"),
    [
        ((0, 10), [(10, 30), (50, 60)]),
        ((10, 20), [(0, 10), (20, 30), (50, 60)]),
        ((0, 30), [(50, 60)]),
        ((30, 50), [(0, 30), (50, 60)]),
        ((20, 55), [(0, 20), (55, 60)]),
        ((-5, 99), []),
    ],
)
def test_what_is_removed_leaves_the_rest(gone: tuple[float, float], expected: list[tuple[float, float]]) -> None:
    spans = made((0, 30), (50, 60))
    spans.remove(*gone)
    assert spans.within(*EVER) == expected


def test_a_part_of_time_and_what_is_beside_it() -> None:
    spans = made((0, 30), (50, 60), (61, 70), (90, 99))
    assert spans.within(10, 65) == [(10, 30), (50, 65)]
    assert spans.within(0, 99, apart_s=21) == [(0, 99)]
    assert spans.within(30, 50) == []
    assert (spans.before(10), spans.before(40), spans.before(0)) == (10, 30, None)
    assert (spans.after(10), spans.after(40), spans.after(99)) == (10, 50, None)


def test_against_a_set_of_seconds() -> None:
    """Many small ones, far enough apart that none are joined but those that overlap."""
    chance, spans, seconds = random.Random(7), Spans(), set()
    for _ in range(2000):
        start = chance.randrange(0, 3000, 10)
        end = start + chance.randrange(10, 60, 10)
        if chance.random() < 0.6:
            spans.add(start, end)
            seconds |= set(range(start, end, 10))
        else:
            spans.remove(start, end)
            seconds -= set(range(start, end, 10))
    found = spans.within(*EVER)
    assert {second for a, b in found for second in range(int(a), int(b), 10)} == seconds
    assert all(a < b for a, b in found)
    assert all(one[1] < other[0] for one, other in pairwise(found))
