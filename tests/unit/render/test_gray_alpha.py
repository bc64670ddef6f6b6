"""A gray TIFF with alpha is told from others, and read for both; what people see is in test_picture_reader.py."""

from __future__ import annotations

import numpy as np
import pytest

from streamd.render.gray_alpha import GrayAlpha
from streamd.render.tags import read_tags
from tests.support.picture_files import Order, Tags, tiff

BOTH = np.arange(2 * 3 * 2, dtype=np.uint8).reshape(2, 3, 2)


@pytest.mark.parametrize("order", ["<", ">"])
def test_another_directory_says_gray(order: Order) -> None:
    data = tiff(BOTH, {338: (3, 2), 262: (3, 0), 274: (3, 3)}, order)
    kind = GrayAlpha.of(read_tags(data))
    assert kind == GrayAlpha(3, 8, are_differences=False)
    tags = read_tags(kind.as_gray(data))
    assert (tags[256], tags[257], tags[258], tags[262], tags[277]) == ((6,), (2,), (8,), (1,), (1,))
    assert not {274, 338} & set(tags)


@pytest.mark.parametrize(
    "tags",
    [{}, {338: (3, 0)}, {338: (3, 2), 284: (3, 2)}, {338: (3, 2), 322: (3, 16)}, {338: (3, 2), 256: (4, 1 << 31)}],
    ids=["no word of alpha", "no alpha", "planes", "tiles", "too wide"],
)
def test_others(tags: Tags) -> None:
    assert GrayAlpha.of(read_tags(tiff(BOTH, tags))) is None


def test_differences_are_undone() -> None:
    stored = BOTH.copy()
    stored[:, 1:] = np.diff(BOTH, axis=1)
    as_one_sample = np.cumsum(stored.reshape(2, 6), axis=1, dtype=np.uint8)
    np.testing.assert_array_equal(GrayAlpha(3, 8, are_differences=True).separated(as_one_sample), BOTH)


def test_what_is_of_another_size_is_something_else() -> None:
    assert GrayAlpha(3, 8, are_differences=False).separated(np.zeros((2, 5), np.uint8)) is None


def test_a_directory_that_is_cut_short() -> None:
    data = tiff(BOTH, {338: (3, 2)})
    assert GrayAlpha(3, 8, are_differences=False).as_gray(data[:60])
