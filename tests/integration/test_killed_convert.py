"""``streamd convert`` killed at any moment: nothing or a whole file is at OUTPUT, what was there before is untouched,
and the next run succeeds.

``make odd`` kills the conversion of a two-hour file:
``python -m tests.integration.test_killed_convert [--count N] [--seed N] [--seconds N]``.
"""

from __future__ import annotations

import argparse
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType
from typing import Any, cast

import av
import pytest

import streamd
from streamd.jobs.convert import convert
from tests.support.odd_recipe import FFMPEG, ffmpeg
from tests.support.odd_trial import QuickService

pytestmark = pytest.mark.timeout(120)

MODULE = __spec__.name if __spec__ else __name__
RATE, LOOP_S = 5, 10
PRECIOUS = b"precious"
WRITERS = ("sinks", "host", "jobs")
"""The packages whose lines are counted: there a file is written."""


def test_killed_at_any_moment(tmp_path: Path) -> None:
    source = film(tmp_path, LOOP_S)
    lines, _ = run(source, tmp_path / "whole.mp4")
    (tmp_path / "whole.mp4").unlink()
    chance = random.Random(1)
    for line in (chance.randrange(1, 60), chance.randrange(60, lines - 60), lines - chance.randrange(60)):
        faults = killed(source, tmp_path, line, 0.0, LOOP_S * RATE, occupied=line % 2 == 0)
        assert faults == [], f"killed before line {line} of {lines}"
    run(source, tmp_path / "out.mp4")
    assert frames_in(tmp_path / "out.mp4") == LOOP_S * RATE
    assert {path.name for path in tmp_path.iterdir()} == {source.name, "out.mp4"}, "nothing is left of those before"


def film(folder: Path, seconds: int) -> Path:
    """Tiny pictures, one keyframe each 10 s, and sound."""
    path, loop = folder / "film.mkv", folder / "loop.mkv"
    made = f"-f lavfi -i testsrc2=s=64x48:r={RATE}:d={LOOP_S} -f lavfi -i sine=r=16000:d={LOOP_S}"
    coded = f"-c:v libx264 -preset ultrafast -g {LOOP_S * RATE} -pix_fmt yuv420p -c:a aac"
    ffmpeg([FFMPEG, "-v", "error", "-y", *made.split(), *coded.split(), str(loop)])
    again = f"-stream_loop {seconds // LOOP_S - 1} -i {loop} -c copy {path}"
    ffmpeg([FFMPEG, "-v", "error", "-y", *again.split()])
    loop.unlink()
    return path


def run(source: Path, output: Path, line: int = 0, delay_s: float = 0.0) -> tuple[int, int]:
    """Converts in a child that dies ``delay_s`` after it comes to a line: the lines that it passed, its exit code."""
    command = [sys.executable, "-m", MODULE, "--child", str(source), str(output), str(line), str(delay_s)]
    child = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=600)
    if not line:
        assert child.returncode == 0, child.stderr
    return int(child.stdout or 0), child.returncode


def killed(source: Path, folder: Path, line: int, delay_s: float, frames: int, *, occupied: bool) -> list[str]:
    """What is wrong after it."""
    output = folder / "out.mp4"
    output.unlink(missing_ok=True)
    if occupied:
        output.write_bytes(PRECIOUS)
    _, code = run(source, output, line, delay_s)
    if code not in (-signal.SIGKILL, -signal.SIGALRM, 0):
        return [f"ended with {code}"]
    if not output.exists():
        return ["what was there is gone"] if occupied else []
    if occupied and output.read_bytes() == PRECIOUS:
        return []
    try:
        found = frames_in(output)
    except (av.error.FFmpegError, IndexError) as error:
        return [f"OUTPUT cannot be read: {error}"]
    return [] if found == frames else [f"OUTPUT has {found} of {frames} frames"]


def frames_in(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def child(source: str, output: str, line: str, delay_s: str) -> None:
    """Dies by the kernel's hand, wherever its threads are: SIGALRM has no handler, and works while FFmpeg writes."""
    passed, home = 0, Path(streamd.__file__).parent
    counted = tuple(f"{home / package}/" for package in WRITERS)

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal passed
        if not frame.f_code.co_filename.startswith(counted):
            return None
        if event == "line":
            passed += 1
            if passed == int(line):
                if float(delay_s):
                    signal.setitimer(signal.ITIMER_REAL, float(delay_s))
                else:
                    signal.raise_signal(signal.SIGKILL)
        return trace

    sys.settrace(trace)
    try:
        convert(source, Path(output), cast(Any, QuickService()), view="source", quiet=True)
    finally:
        sys.settrace(None)
        signal.setitimer(signal.ITIMER_REAL, 0)
    print(passed)


def report(count: int, seed: int, seconds: int) -> int:
    """Prints a line for each failure, and what became of the others. How many failed."""
    chance, failed = random.Random(seed), 0
    with tempfile.TemporaryDirectory(prefix="killed-") as name:
        folder = Path(name)
        source, started = film(folder, seconds), time.monotonic()
        lines, _ = run(source, folder / "out.mp4")
        assert frames_in(folder / "out.mp4") == seconds * RATE, "without being killed"
        print(f"{seconds / 3600:g} h converted in {time.monotonic() - started:.0f} s, {lines} lines", flush=True)
        for number in range(count):
            line = (chance.randrange(1, lines), lines - chance.randrange(80), chance.randrange(1, 80))[number % 3]
            delay_s = chance.choice((0.0, chance.random() * 0.002, chance.random() * 0.05))
            faults = killed(source, folder, line, delay_s, seconds * RATE, occupied=chance.random() < 0.5)
            failed += bool(faults)
            if faults:
                print(f"FAIL killed {1000 * delay_s:.1f} ms after line {line}: {', '.join(faults)}", flush=True)
    print(f"killed {count} times, {failed} failed")
    return failed


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=15)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seconds", type=int, default=7200)
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(*options.child)
        return 0
    return int(report(options.count, options.seed, options.seconds) > 0)


if __name__ == "__main__":
    sys.exit(main())
