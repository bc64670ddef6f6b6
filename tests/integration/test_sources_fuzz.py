"""Rubbish through decoders, and hundreds of failures: no crash, nothing left behind. Whole files:
test_mutated_files.py.

In a child process each, for a crash of native code would take pytest along. Run this file as a program to see
the figures: ``python -m tests.integration.test_sources_fuzz packets|leaks FOLDER``.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import av
import pytest
from av.packet import Packet

from streamd.config.sections import StreamConfig
from streamd.errors import SourceError
from streamd.host import allocator
from streamd.sources import base, open_source
from streamd.sources.base import Source
from tests.support.clips import write_clip
from tests.support.mutate import mutated
from tests.support.waiting import scaled
from tests.unit.sources.peers import peer, rtsp, sends

pytestmark = pytest.mark.timeout(120)

PACKETS, OPENS = 2000, 500


def test_corrupted_packets(tmp_path: Path) -> None:
    reported = run("packets", tmp_path)
    assert reported["packets"] >= PACKETS
    assert reported["skipped"] > 0
    assert reported["shown"] > 0


def test_failed_opens_leave_nothing_behind(tmp_path: Path) -> None:
    reported = run("leaks", tmp_path)
    assert reported["failed"] == OPENS
    assert reported["fds"] == reported["threads"] == 0
    assert reported["rss_kb"] < 3000  # of 500 opens; Python 3.13 keeps a megabyte more than 3.11


def run(what: str, folder: Path) -> dict[str, int]:
    """The figures that a child printed. It must end by itself, and well."""
    command = [sys.executable, "-X", "faulthandler", "-m", __spec__.name if __spec__ else __name__, what, str(folder)]
    child = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=scaled(100))
    assert child.returncode == 0, child.stderr[-4000:]
    return {name: int(number) for name, number in (line.split("=") for line in child.stdout.split())}


# -- in the child ---------------------------------------------------------------------------------


class Broken(Source):
    """A clip whose packets are damaged, live."""

    def __init__(self, clip: Path, chance: random.Random) -> None:
        super().__init__(StreamConfig(source=str(clip), read_timeout_s=60), threading.Event(), threads=2)
        self.chance, self.sent, self.skipped = chance, 0, 0
        self.on_skip = self.count

    def count(self, reason: str) -> None:
        self.skipped += 1

    def frames(self) -> Generator[av.VideoFrame]:
        with self.opened(self.config.source) as container:
            yield from self.decoded(container)

    def packets(self, container: Any, stream: Any) -> Iterator[Any]:
        for packet in container.demux(stream):
            if packet.size and self.chance.random() < 0.9:
                made = Packet(mutated(bytes(packet), self.chance.getrandbits(32)))
                made.stream, made.time_base = stream, packet.time_base
                made.pts, made.dts = packet.pts, self.chance.choice((None, packet.dts, self.chance.getrandbits(40)))
                packet = made
            self.sent += 1
            yield packet


def packets(folder: Path) -> None:
    chance, reported = random.Random(7), Counter[str]()
    forms: list[dict[str, Any]] = [{}, {"b_frames": 2}, {"codec": "libx265"}, {"codec": "mjpeg"}, {"codec": "mpeg4"}]
    clips = [write_clip(folder / f"{n}.mkv", 50, **form) for n, form in enumerate(forms)]
    while reported["packets"] < PACKETS:
        source = Broken(clips[reported["rounds"] % len(clips)], chance)
        reported["shown"] += sum(1 for _ in source.frames())
        reported["rounds"] += 1
        reported["packets"] += source.sent
        reported["skipped"] += source.skipped
    show(reported)


def leaks(folder: Path) -> None:
    allocator.configure()  # as in a daemon: else heaps grow as chance would have it
    reported = Counter[str]()
    base.OPEN_TIMEOUT_S = 0.3
    with ExitStack() as stack:
        scripts = [
            sends(b"\xff\x00garbage\r\n\r\n" * 20),
            sends(b""),
            rtsp(refuse={"DESCRIBE": "404 Not Found"}),
            rtsp(refuse={"SETUP": "500 Internal Server Error"}),
            rtsp(login=("jo", "other")),
        ]
        urls = [f"rtsp://jo:pw@{stack.enter_context(peer(script))}/live" for script in scripts]
        urls += ["rtsp://127.0.0.1:9/live", "http://127.0.0.1:9/live", str(folder / "missing.mp4")]
        for number in range(100):  # what is allocated once
            fail(urls[number % len(urls)])
        before = held()
        for number in range(OPENS):
            reported["failed"] += fail(urls[number % len(urls)])
        after = held()
    reported.update({name: after[name] - before[name] for name in before})
    for name in before:
        reported[name] = after[name] - before[name]
    show(reported)


def fail(url: str) -> bool:
    source = open_source(StreamConfig(source=url, read_timeout_s=0.3), threading.Event())
    try:
        return not list(source.frames())
    except SourceError:
        return True


def held() -> dict[str, int]:
    """What this process has: kB, descriptors, threads; those of the peers' last connections end first."""
    give_up_at = time.monotonic() + scaled(5)
    while threading.active_count() > 6 and time.monotonic() < give_up_at:
        time.sleep(0.02)
    allocator.release_memory()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "rss_kb": pages * os.sysconf("SC_PAGE_SIZE") // 1024,
        "fds": len(os.listdir("/proc/self/fd")),
        "threads": len(os.listdir("/proc/self/task")),
    }


def show(reported: Counter[str]) -> None:
    print("\n".join(f"{name}={number}" for name, number in reported.items()))


if __name__ == "__main__":
    {"packets": packets, "leaks": leaks}[sys.argv[1]](Path(sys.argv[2]))
