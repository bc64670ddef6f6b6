"""Odd files through ffmpeg and through ``convert``, and a report of what came out otherwise than it ought to."""

from __future__ import annotations

import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from streamd.errors import StreamdError
from streamd.jobs.convert import convert
from tests.support import odd_found
from tests.support.odd import Odd
from tests.support.odd_found import Differences
from tests.support.odd_recipe import Truth
from tests.support.played import INFO, PlayedService

Reasons = dict[tuple[str, str, str], str]
"""(who, what of it is odd, aspect) to the reason for which "ffmpeg" or "streamd" makes something else of such files."""


class QuickService(PlayedService):
    """A network that takes no time, and keeps nothing."""

    def answer(self, number: int = -1) -> None:
        super().answer(number)
        del self.waiting[number]


@dataclass
class Trial:
    """What came of one file."""

    odd: Odd
    reasons: Reasons
    found: dict[str, Differences] = field(default_factory=dict)
    """By who: where it differs from what ought to be."""

    def known(self) -> list[tuple[str, str, str]]:
        """The reasons that count here."""
        return [key for who, told in self.found.items() for aspect in told if (key := self._reason(who, aspect))]

    def failures(self) -> list[str]:
        return [
            f"{self.odd.name}: {who}: {aspect}: expected {text}"
            for who, told in self.found.items()
            for aspect, text in told.items()
            if not self._reason(who, aspect)
        ]

    def _reason(self, who: str, aspect: str) -> tuple[str, str, str] | None:
        parts = (self.odd.container, self.odd.codec, *self.odd.twists)
        return next((key for part in parts if (key := (who, part, aspect)) in self.reasons), None)


def trial(odd: Odd, folder: Path, reasons: Reasons) -> Trial:
    """Makes the file, converts it, and clears up."""
    recipe, done = odd.recipe(), Trial(odd, reasons)
    try:
        path = recipe.make(folder)
    except subprocess.CalledProcessError as error:
        done.found["maker"] = {"file": f"one, got {error.stderr.decode(errors='replace').strip()[-200:]}"}
        return done
    output, truth = folder / f"{odd.name}.converted{recipe.output}", recipe.truth()
    done.found = {"ffmpeg": {} if truth.refused else _ffmpegs(truth, path), "streamd": _ours(truth, path, output)}
    path.unlink()
    output.unlink(missing_ok=True)
    return done


def _ffmpegs(truth: Truth, path: Path) -> Differences:
    try:
        found = odd_found.by_ffmpeg(path)
    except (subprocess.CalledProcessError, ValueError) as error:
        return {"refused": f"pictures, got {getattr(error, 'stderr', b'none')[-200:]!r}"}
    return odd_found.differences(truth, found)


def _ours(truth: Truth, path: Path, output: Path) -> Differences:
    try:
        convert(str(path), output, cast(Any, QuickService(INFO)), view="source", quiet=True)
    except StreamdError as error:
        text = str(error).replace(f"{path.parent}/", "")
        return (
            {} if truth.refused and truth.refused in text else {"refused": f"{truth.refused or 'a video'}, got {text}"}
        )
    except Exception as error:
        return {"crash": f"none, got {error!r}"}
    if truth.refused:
        return {"refused": f"{truth.refused}, got a video"}
    return odd_found.differences(truth, odd_found.converted(output))


def report(odds: Iterable[Odd], reasons: Reasons) -> int:
    """Prints a line for each failure and a summary. How many files failed."""
    known, tried, kinds = Counter[tuple[str, str, str]](), Counter[str](), Counter[tuple[str, str]]()
    count = failed = 0
    with tempfile.TemporaryDirectory(prefix="odd-") as folder:
        for odd in odds:
            done = trial(odd, Path(folder), reasons)
            known.update(done.known())
            tried.update(odd.twists)
            failures = done.failures()
            kinds.update((twist, failure.split(": ")[2]) for failure in failures for twist in odd.twists)
            count, failed = count + 1, failed + bool(failures)
            print(*(f"FAIL {failure}\n" for failure in failures), sep="", end="", flush=True)
    if known:
        print("\ndiffer with a reason:")
    for key, times in sorted(known.items()):
        print(f"{times:5} {key[0]}, {key[1]}, {key[2]}: {reasons[key]}")
    if kinds:
        print("\nfailures by what is odd and what is wrong:")
    for (twist, aspect), times in sorted(kinds.items()):
        print(f"{times:5} of {tried[twist]:3} {twist}: {aspect}")
    print(f"\n{count} odd files, {failed} failed" + "; one again: make odd ONLY=NAME" * bool(failed))
    return failed
