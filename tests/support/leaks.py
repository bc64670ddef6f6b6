"""What a test may not leave behind: threads, child processes, file descriptors."""

from __future__ import annotations

import gc
import os
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.support.waiting import scaled

GRACE_S = scaled(3.0)
# Opened once by a library and kept: not a leak of the test that came first.
_KEPT = re.compile(r"/dev/(null|u?random)|/proc/.*|/sys/.*|.*\.(so|zip)[.\d]*|.*__pycache__.*|.*/\.hypothesis/.*")


@dataclass(frozen=True)
class Held:
    """What this process holds at one moment. A thing that was replaced by another of its kind counts as the same."""

    threads: Counter[str]
    children: int
    files: Counter[str]

    @classmethod
    def now(cls) -> Held:
        # A daemon thread dies with the process; ours are never daemons.
        running = Counter(thread.name for thread in threading.enumerate() if not thread.daemon)
        return cls(running, len(children_of(os.getpid())), _open_files())

    def gained_since(self, before: Held) -> str:
        """What is here that was not before, as text; empty when nothing is."""
        found = [f"thread {name}" for name in sorted((self.threads - before.threads).elements())]
        if self.children > before.children:
            found.append(f"{self.children - before.children} child process(es): {children_of(os.getpid())}")
        found += [f"{count} x {name}" for name, count in sorted((self.files - before.files).items())]
        return ", ".join(found)


def leaked_since(before: Held, let_go: Callable[[], None] = lambda: None) -> str:
    """Gives what is about to end a moment; the text says what did not. ``let_go`` is called before each look."""
    give_up_at = time.monotonic() + GRACE_S
    let_go()
    while gained := Held.now().gained_since(before):
        if time.monotonic() > give_up_at:
            return gained
        let_go()
        gc.collect()
        time.sleep(0.01)
    return ""


def children_of(pid: int) -> list[int]:
    """Process ids, zombies too."""
    found = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += [int(child) for child in path.read_text().split()]
        except OSError:  # the thread has just ended
            continue
    return found


def _open_files() -> Counter[str]:
    """How many descriptors there are of each kind."""
    names: Counter[str] = Counter()
    for entry in os.listdir("/proc/self/fd"):
        try:
            name = os.readlink(f"/proc/self/fd/{entry}")
        except OSError:  # closed meanwhile, as is the directory's own
            continue
        if not _KEPT.fullmatch(name):
            names[re.sub(r":\[\d+\]$", "", name)] += 1
    return names
