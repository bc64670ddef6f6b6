from __future__ import annotations

import pytest

from streamd.depth.models.base import Download, Preprocessing


def test_a_digest_is_compared_as_far_as_it_is_known() -> None:
    assert [Download("", known).matches("ab12") for known in ("ab12", "ab", "", "ab13")] == [True, True, None, False]


def test_a_size_that_weights_fix_is_the_only_one() -> None:
    how = Preprocessing(fixed=True, fit="exact")
    assert how.sized(256) == how.sized("auto") == how
    assert how.min_side == how.max_side == 256
    with pytest.raises(ValueError, match=r"^takes 256 only$"):
        how.sized(128)


def test_another_size_is_a_multiple_of_the_step() -> None:
    how = Preprocessing(input_size=518, multiple_of=14, fit="lower_bound")
    assert (how.sized(392).input_size, how.min_side, how.max_side, how.max_pixels) == (392, 14, 4144, 2072 * 518)
    with pytest.raises(ValueError, match=r"^takes a multiple of 14$"):
        how.sized(384)
