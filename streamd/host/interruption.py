"""What asks a job to end before it is done: Ctrl-C, SIGTERM, and a terminal that is closed."""

from __future__ import annotations

import math
import signal
import time

AGAIN_S = 5.0
"""Earlier than this after the last, another is the same wish: what is being finished or put away is not broken off."""


def end_in_order() -> None:
    """From now on each raises KeyboardInterrupt in the main thread, which calls this. What is ignored stays ignored, as
    under nohup."""
    last_s = -math.inf

    def interrupt(*_: object) -> None:
        nonlocal last_s
        if time.monotonic() - last_s > AGAIN_S:
            last_s = time.monotonic()
            raise KeyboardInterrupt

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, interrupt)
