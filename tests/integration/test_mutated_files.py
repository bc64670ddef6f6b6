"""Media files with damaged bytes through ``streamd convert``: done or refused in one line, soon, within 1 GB, and
nothing left in the output's place.

Each in a process of its own, forked from a child that has all loaded. ``make odd`` tries more of them:
``python -m tests.integration.test_mutated_files [NUMBER ...] [--count N] [--seed N] [--keep FOLDER]``.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import NoReturn

import av
import pytest

from streamd import cli
from streamd.config.sections import ModelConfig
from streamd.depth import service
from tests.support.mutate import mutated
from tests.support.odd import Odd
from tests.support.odd_trial import QuickService
from tests.support.waiting import scaled

pytestmark = pytest.mark.timeout(240)

COUNT = 100
HANG_S = 20.0
MAX_BYTES = 1 << 30
RESERVED_BYTES = 6 << 30
"""Of addresses, so that a bomb hurts nobody else."""
PRECIOUS = b"precious"

WHOLES = [
    "mp4-h264-b-frames",
    "mp4-hevc-faststart",
    "mp4-mpeg4-fragmented",
    "mov-prores-silent",
    "mov-png-second-default",
    "mkv-h264-several-sounds",
    "mkv-ffv1-attached",
    "webm-vp9-silent",
    "ts-h264-b-frames",
    "m2ts-mpeg2-422",
    "avi-mjpeg-silent",
    "avi-mpeg4-b-frames",
    "flv-h264-late-sound",
    "ogv-theora-sar2",
    "nut-rawvideo-alaw",
    "mpg-mpeg2-b-frames",
    "mxf-mpeg2-422",
    "wmv-wmv2-silent",
    "gif-gif-tiny",
    "apng-apng-rgb",
    "y4m-rawvideo-tiny",
    "3gp-h263-turned90",
    "h264-h264-b-frames",
    "ivf-vp8-tiny",
]


def test_mutated_files(tmp_path: Path) -> None:
    command = [sys.executable, "-X", "faulthandler", "-m", __name__, "--count", str(COUNT), "--keep", str(tmp_path)]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}
    child = subprocess.run(command, cwd=Path(__file__).parents[2], env=environment, capture_output=True, text=True)
    assert child.returncode == 0, child.stdout[-4000:] + child.stderr[-4000:]
    figures = dict(line.split(": ") for line in child.stdout.splitlines() if ": " in line)
    assert int(figures["converted"]) > COUNT // 5, "else it tries the openers only"
    assert int(figures["refused"]) > COUNT // 20


# -- in the child ---------------------------------------------------------------------------------


class Standing(QuickService):
    """In the place of DepthService."""

    def __init__(self, config: ModelConfig, *_: object, **__: object) -> None:
        super().__init__()

    def start(self) -> None:
        pass

    def close(self) -> None:
        pass


class Mutant:
    """A damaged file, and what ``convert`` made of it."""

    def __init__(self, folder: Path, whole: Path, number: int, seed: int) -> None:
        self.source = folder / f"broken-{number}{whole.suffix}"
        self.source.write_bytes(mutated(whole.read_bytes(), seed << 32 | number))
        self.folder = folder / "output"
        self.folder.mkdir(exist_ok=True)
        self.output = self.folder / ("out.mp4", "out.mkv")[number % 2]
        self.occupied = number % 4 < 2
        if self.occupied:
            self.output.write_bytes(PRECIOUS)
        self.log = folder / "log"

    def convert(self) -> None:
        started = time.monotonic()
        child = os.fork()
        if not child:
            self._run()
        self.status = self._wait(child, started + scaled(HANG_S))
        self.seconds = time.monotonic() - started

    def _run(self) -> NoReturn:
        log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(log, 1)
        os.dup2(log, 2)
        resource.setrlimit(resource.RLIMIT_AS, (RESERVED_BYTES, RESERVED_BYTES))
        os._exit(cli.main(["convert", str(self.source), str(self.output), "--view", "source"]))

    def _wait(self, child: int, until: float) -> int:
        """Its status. Kills it when it hangs."""
        while True:
            pid, status, usage = os.wait4(child, os.WNOHANG)
            if pid:
                self.bytes = 1024 * usage.ru_maxrss
                return status
            if time.monotonic() > until:
                os.kill(child, signal.SIGKILL)
            time.sleep(0.002)

    @property
    def code(self) -> int:
        return os.waitstatus_to_exitcode(self.status)

    def faults(self) -> list[str]:
        text = self.log.read_text(errors="replace")
        lines, found = [line for line in text.splitlines() if " left out" not in line], list[str]()
        if self.seconds >= scaled(HANG_S):
            found.append(f"hung for {self.seconds:.0f} s")
        if self.code not in (0, 1):
            found.append(f"ended with {self.code}")
        if "Traceback" in text or "internal error" in text:
            found.append("a fault of ours")
        if self.code == 1 and len(lines) != 1:
            found.append(f"{len(lines)} lines")
        if self.bytes > MAX_BYTES:
            found.append(f"took {self.bytes >> 20} MB")
        return found + self._left()

    def _left(self) -> list[str]:
        there = {path.name: path for path in self.folder.iterdir()}
        if self.code == 0:
            return (
                [] if set(there) == {self.output.name} and _plays(self.output) else [f"no video, but {sorted(there)}"]
            )
        if set(there) != {self.output.name} & set(there) or self.output.exists() != self.occupied:
            return [f"left {sorted(there)}"]
        return ["wrote over what was there"] if self.occupied and self.output.read_bytes() != PRECIOUS else []

    def clear(self, *, keep: bool) -> None:
        if not keep:
            self.source.unlink()
        for path in self.folder.iterdir():
            path.unlink()


def _plays(path: Path) -> bool:
    with av.open(str(path)) as container:
        return next(container.decode(video=0), None) is not None


def report(folder: Path, numbers: list[int], seed: int, *, keep: bool) -> int:
    """Prints a line for each failure and the figures. How many failed."""
    service.DepthService = Standing  # type: ignore[misc, assignment]
    wholes = [Odd.named(name).recipe().make(folder) for name in WHOLES]
    figures, kinds, slowest_s, most_bytes = Counter[str](), Counter[str](), 0.0, 0
    for number in numbers:
        mutant = Mutant(folder, wholes[number % len(wholes)], number, seed)
        mutant.convert()
        figures["converted" if mutant.code == 0 else "refused"] += 1
        slowest_s, most_bytes = max(slowest_s, mutant.seconds), max(most_bytes, mutant.bytes)
        if faults := mutant.faults():
            figures["failed"] += 1
            text = mutant.log.read_text(errors="replace").strip()[-400:].replace("\n", " / ")
            print(f"FAIL {number} ({WHOLES[number % len(WHOLES)]}): {', '.join(faults)}: {text}", flush=True)
            kinds.update(faults)
        mutant.clear(keep=keep and bool(faults))
    print(*(f"{times:5} {kind}" for kind, times in sorted(kinds.items())), sep="\n")
    print(f"slowest: {slowest_s:.1f} s\nlargest: {most_bytes >> 20} MB")
    print("\n".join(f"{name}: {figures[name]}" for name in ("converted", "refused", "failed")))
    return figures["failed"]


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("numbers", nargs="*", type=int, metavar="NUMBER")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keeps the files that fail there")
    options = parser.parse_args()
    numbers = options.numbers or list(range(options.count))
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
        return int(report(options.keep, numbers, options.seed, keep=True) > 0)
    with tempfile.TemporaryDirectory(prefix="mutated-") as folder:
        return int(report(Path(folder), numbers, options.seed, keep=False) > 0)


if __name__ == "__main__":
    sys.exit(main())
