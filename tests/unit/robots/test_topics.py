"""Names that ROS takes."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from streamd.config.sections import STREAM_NAME
from streamd.robots.topics import optical_frame, slug


@given(st.from_regex(STREAM_NAME, fullmatch=True))
def test_every_stream_has_one(name: str) -> None:
    """By ROS 2's rules of topic names."""
    assert re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", slug(name))


def test_a_good_name_stays() -> None:
    assert slug("front_door2") == "front_door2"
    assert optical_frame("porch") == "porch_optical_frame"


def test_no_two_become_one() -> None:
    names = ["a.b", "a-b", "a_b", "1", "stream_1"]
    assert len({slug(name) for name in names}) == len(names)
