"""One odd file through ffmpeg and through ``convert``."""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from streamd.errors import StreamdError
from streamd.jobs.convert import convert
from streamd.media.frames import FloatImage
from tests.support import odd_found
from tests.support.odd import Odd
from tests.support.odd_found import Differences
from tests.support.odd_recipe import Truth
from tests.support.played import INFO, PlayedService


class QuickService(PlayedService):
    """A network that takes no time, and keeps nothing."""

    def answer(self, number: int = -1) -> None:
        super().answer(number)
        del self.waiting[number]

    def close(self) -> None:
        pass


@dataclass
class Trial:
    """What came of one."""

    odd: Odd
    ours: Differences = field(default_factory=dict)
    """Where streamd's differs from what ought to be."""
    theirs: Differences = field(default_factory=dict)
    """Where ffmpeg's does."""


def trial(odd: Odd, folder: Path, *, ffmpeg: bool = True) -> Trial:
    """Raises CalledProcessError when the file cannot be made."""
    recipe, done = odd.recipe(), Trial(odd)
    path = recipe.make(folder)
    output = folder / f"{odd.name}.converted{recipe.output}"
    truth = recipe.truth()
    try:
        if ffmpeg and not truth.refused:
            done.theirs = _ffmpegs(truth, path)
        done.ours = _ours(truth, path, output)
    finally:
        path.unlink()
        output.unlink(missing_ok=True)
    return done


def _ffmpegs(truth: Truth, path: Path) -> Differences:
    try:
        found = odd_found.by_ffmpeg(path)
    except (subprocess.CalledProcessError, ValueError) as error:
        return {"error": str(getattr(error, "stderr", error))[-200:]}
    return odd_found.differences(truth, found)


def _ours(truth: Truth, path: Path, output: Path) -> Differences:
    service = QuickService(INFO)
    try:
        convert(str(path), output, service, view="source", quiet=True)  # type: ignore[arg-type]
    except StreamdError as error:
        if truth.refused and truth.refused in str(error):
            return {}
        return {"refused": f"{truth.refused or 'converted'}, got {error}"}
    except Exception as error:
        return {"crash": f"no error of Python's, got {error!r}"}
    if truth.refused:
        return {"refused": f"{truth.refused}, got a video"}
    return odd_found.differences(truth, odd_found.converted(output))
