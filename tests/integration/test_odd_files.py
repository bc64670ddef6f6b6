"""Files as people have them: containers, codecs, and what is odd about each, against what ought to come out.

What ought to is known from how each was made; ffmpeg is asked too. ``make odd`` tries more of them:
``python -m tests.integration.test_odd_files [NAME ...] [--count N] [--seed N]``.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import pytest

from tests.support.odd import Odd, combined, one_of_each
from tests.support.odd_trial import Reasons, report, trial

DIFFERENCES: Reasons = {
    ("ffmpeg", "alpha", "alpha"): "drops the alpha and shows the colour below; streamd lays it on white",
    ("streamd", "vp8", "alpha"): "FFmpeg's own decoder leaves out the alpha of VP8",
    ("streamd", "vp9", "alpha"): "FFmpeg's own decoder leaves out the alpha of VP9",
    ("ffmpeg", "stray-stamp", "times"): "passes a stamp that cannot be",
}

EACH = one_of_each()


@pytest.mark.parametrize("odd", EACH, ids=[odd.name for odd in EACH])
def test_an_odd_file(odd: Odd, tmp_path: Path) -> None:
    failures = trial(odd, tmp_path, DIFFERENCES).failures()
    assert not failures, "\n".join(failures)


def test_a_seed_gives_the_same_files_again() -> None:
    names = [odd.name for odd in combined(300, 1)]
    assert len(set(names)) == 300
    assert names == [odd.name for odd in combined(300, 1)]
    assert names != [odd.name for odd in combined(300, 2)]
    assert [Odd.named(name).name for name in names] == names


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    odds = map(Odd.named, options.names) if options.names else combined(options.count, options.seed)
    return int(report(odds, DIFFERENCES) > 0)


if __name__ == "__main__":
    sys.exit(main())
