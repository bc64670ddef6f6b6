"""Internal faults of a stream: how they are detected, how long to wait after one, whether a restart helps."""

from __future__ import annotations

from collections.abc import Iterable

from streamd.concurrency.backoff import Backoff
from streamd.concurrency.threads import Worker
from streamd.errors import StreamStuck

SILENT_S = 15.0
HOPELESS_AFTER = 3
"""Runs in a row that ended stuck, without any publication."""


MAX_ABANDONED = 3
"""Runs whose threads hang: with so many, no other is begun."""


class Abandoned:
    """The threads of former runs that have not ended: each set holds memory, and may hold a core."""

    def __init__(self) -> None:
        self._runs: list[list[Worker]] = []

    def add(self, threads: Iterable[Worker]) -> None:
        """Those of one run."""
        self._runs.append(list(threads))

    @property
    def too_many(self) -> bool:
        self._runs = [run for run in self._runs if any(thread.is_alive() for thread in run)]
        return len(self._runs) >= MAX_ABANDONED


class Liveness:
    """Finds a stream whose source delivers but that publishes nothing. Times are those of ``time.monotonic``."""

    def __init__(self, patience_s: float) -> None:
        """``patience_s``: how long nothing may be published while the source delivers."""
        self._patience_s = patience_s
        self._since: float | None = None

    def check(self, now: float, *, captured_at: float | None, published_at: float | None, can_publish: bool) -> None:
        """To be called regularly. Raises StreamStuck. ``captured_at`` and ``published_at`` are of the newest
        picture; ``can_publish``: the network is ready."""
        if captured_at is None or now - captured_at >= self._patience_s or not can_publish:
            self._since = None
        elif self._since is None or (published_at is not None and published_at > self._since):
            self._since = now
        elif captured_at - self._since >= self._patience_s:
            raise StreamStuck(captured_at - self._since)


class Faults:
    """The faults of one stream since it last published."""

    def __init__(self, backoff: Backoff) -> None:
        self._delays = backoff.start()
        self._stuck_runs = 0

    @property
    def hopeless(self) -> bool:
        """Whether it got stuck several times in a row, so that restarts do not help."""
        return self._stuck_runs >= HOPELESS_AFTER

    def published(self) -> None:
        """To be called at the first picture: the fault is over."""
        self._stuck_runs = 0

    def add(self, error: Exception, healthy_s: float) -> float:
        """Seconds to wait after this fault, which came when it had published for ``healthy_s``."""
        self._stuck_runs = self._stuck_runs + 1 if isinstance(error, StreamStuck) else 0
        return self._delays.after(healthy_s)
