"""Range requests."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.web.ranges import parse_range


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=0-0", (0, 0)),
        ("bytes=2-", (2, 9)),
        ("bytes=2-99", (2, 9)),
        ("bytes=-3", (7, 9)),
        ("bytes=-99", (0, 9)),
        ("Bytes=1-2", (1, 2)),
        ("", None),
        ("bytes=-", None),
        ("bytes=3-2", None),
        ("bytes=0-1,4-5", None),
        ("items=0-1", None),
        ("bytes=a-b", None),
        ("bytes=\u0661-", None),
        ("bytes=" + "9" * 5000 + "-", None),
    ],
)
def test_of_ten_bytes(header: str, expected: tuple[int, int] | None) -> None:
    part = parse_range(header, 10)
    assert (None if part is None else (part.first, part.last)) == expected


@pytest.mark.parametrize(
    ("header", "size"), [("bytes=10-", 10), ("bytes=10-20", 10), ("bytes=-0", 10), ("bytes=0-", 0), ("bytes=-1", 0)]
)
def test_what_is_not_there(header: str, size: int) -> None:
    with pytest.raises(IndexError):
        parse_range(header, size)


@given(st.one_of(st.text(), st.from_regex(r"bytes=[0-9]{0,4}-[0-9]{0,4}")), st.integers(0, 1000))
def test_a_part_is_within_the_file(header: str, size: int) -> None:
    try:
        part = parse_range(header, size)
    except IndexError:
        return
    if part is not None:
        assert 0 <= part.first <= part.last < size
        assert part.size == part.last - part.first + 1
