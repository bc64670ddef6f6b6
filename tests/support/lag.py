"""``python -m tests.support.lag URL PID``: how late a server's event loop answers, and how late this box wakes anyone.

Until stdin closes; then a line of JSON. In a process of its own, so that the test does not disturb it.
"""

from __future__ import annotations

import http.client
import json
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

from tests.support.waiting import queued_s

EVERY_S = 0.01


@dataclass
class Lag:
    """The worst of the time that was watched. ``box_s`` is what is not the server's fault."""

    answer_s: float = 0.0
    """Without the time that the server's main thread could run and the box ran others."""
    box_s: float = 0.0
    queued_s: float = 0.0
    """How long the server's main thread waited for a core between two looks."""
    count: int = 0


@contextmanager
def watching(url: str, pid: int) -> Iterator[Lag]:
    """Fills the Lag at the end."""
    lag = Lag()
    command = [sys.executable, "-m", "tests.support.lag", url, str(pid)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()  # it has begun
        try:
            yield lag
        finally:
            reported = process.communicate()[0]
        lag.answer_s, lag.box_s, lag.queued_s, lag.count = json.loads(reported)


def main() -> None:
    server = int(sys.argv[2])
    connection = http.client.HTTPConnection(urlsplit(sys.argv[1]).netloc, timeout=30)
    worst_answer_s = worst_box_s = worst_queued_s = 0.0
    count = 0
    print("watching", flush=True)
    while True:
        due = time.monotonic() + EVERY_S
        if select.select([sys.stdin], [], [], EVERY_S)[0]:
            break
        woken, waited_s = time.monotonic(), queued_s(server)
        connection.request("GET", "/healthz")
        connection.getresponse().read()
        worst_box_s = max(worst_box_s, woken - due)
        more_s = queued_s(server) - waited_s
        worst_queued_s = max(worst_queued_s, more_s)
        worst_answer_s = max(worst_answer_s, time.monotonic() - woken - more_s)
        count += 1
    connection.close()
    print(json.dumps([worst_answer_s, worst_box_s, worst_queued_s, count]), flush=True)


if __name__ == "__main__":
    main()
