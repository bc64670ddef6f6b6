"""Rubbish through demuxers and decoders, and hundreds of failures: no crash, no hang, nothing left behind.

In a child process each, for a crash of native code would take pytest along. Run this file as a program to see
the figures: ``python -m tests.integration.test_sources_fuzz packets|files|leaks FOLDER``.
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
from streamd.sources import base, open_source
from streamd.sources.base import Source
from tests.support.clips import write_clip
from tests.support.waiting import scaled
from tests.unit.sources.peers import peer, rtsp, sends

pytestmark = pytest.mark.timeout(120)

PACKETS, FILES, OPENS = 2000, 200, 500
HANG_S = 5.0
"""No file of a few kilobytes may take longer."""


def test_corrupted_packets(tmp_path: Path) -> None:
    reported = run("packets", tmp_path)
    assert reported["packets"] >= PACKETS
    assert reported["skipped"] > 0
    assert reported["shown"] > 0


def test_mutated_files(tmp_path: Path) -> None:
    reported = run("files", tmp_path)
    assert reported["files"] == FILES
    assert reported["played"] > 20, "else it tests the openers only"
    assert reported["refused"] > 0
    assert reported["of_many_lines"] == 0
    assert reported["slowest_ms"] < 1000 * HANG_S


def test_failed_opens_leave_nothing_behind(tmp_path: Path) -> None:
    reported = run("leaks", tmp_path)
    assert reported["failed"] == OPENS
    assert reported["fds"] == reported["threads"] == 0
    assert reported["rss_kb"] < 5000


def run(what: str, folder: Path) -> dict[str, int]:
    """The figures that a child printed. It must end by itself, and well."""
    command = [sys.executable, "-X", "faulthandler", "-m", __spec__.name if __spec__ else __name__, what, str(folder)]
    child = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=100)
    assert child.returncode == 0, child.stderr[-4000:]
    return {name: int(number) for name, number in (line.split("=") for line in child.stdout.split())}


# -- in the child ---------------------------------------------------------------------------------


def mutated(data: bytes, chance: random.Random) -> bytes:
    """Bits flipped, bytes overwritten, a part cut out, doubled, or the end gone."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 8, 40))):
        at = chance.randrange(len(changed)) if changed else 0
        length = min(chance.choice((1, 1, 2, 4, 16, 200)), len(changed) - at)
        match chance.randrange(6) if changed else 9:
            case 0 | 1:
                changed[at] ^= 1 << chance.randrange(8)
            case 2:
                changed[at : at + length] = chance.randbytes(length)
            case 3:
                del changed[at : at + length]
            case 4:
                changed[at:at] = changed[at : at + length]
            case 5 if chance.random() < 0.1:
                del changed[at:]
    return bytes(changed)


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
                made = Packet(mutated(bytes(packet), self.chance))
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


def files(folder: Path) -> None:
    chance, reported = random.Random(11), Counter[str]()
    names = ("a.mp4", "b.mkv", "c.ts", "d.avi", "e.mp4", "f.webm")
    forms: tuple[dict[str, Any], ...] = (
        {},
        {"audio": True},
        {"b_frames": 2},
        {"codec": "mjpeg"},
        {"codec": "libx265"},
        {"codec": "libvpx"},
    )
    wholes = [write_clip(folder / name, 12, size=(96, 64), **form) for name, form in zip(names, forms, strict=True)]
    for number in range(FILES):
        whole = wholes[number % len(wholes)]
        broken = folder / f"broken{whole.suffix}"
        broken.write_bytes(mutated(whole.read_bytes(), chance))
        source = open_source(StreamConfig(source=str(broken), realtime=False), threading.Event())
        started = time.monotonic()
        try:
            reported["played"] += bool(list(source.frames()))
        except SourceError as error:
            reported["refused"] += 1
            reported["of_many_lines"] += "\n" in str(error)
        reported["files"] += 1
        reported["slowest_ms"] = max(reported["slowest_ms"], round(1000 * (time.monotonic() - started)))
    show(reported)


def leaks(folder: Path) -> None:
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
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return {
        "rss_kb": pages * os.sysconf("SC_PAGE_SIZE") // 1024,
        "fds": len(os.listdir("/proc/self/fd")),
        "threads": len(os.listdir("/proc/self/task")),
    }


def show(reported: Counter[str]) -> None:
    print("\n".join(f"{name}={number}" for name, number in reported.items()))


if __name__ == "__main__":
    {"packets": packets, "files": files, "leaks": leaks}[sys.argv[1]](Path(sys.argv[2]))
