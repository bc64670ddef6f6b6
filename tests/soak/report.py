"""What a soak has shown: samples over time, verdicts, a table to read."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

DRIFT = 0.03
BACK_S = 5.0
MINUTE_S = 60.0


@dataclass(frozen=True)
class Held:
    """By the daemon."""

    files: dict[str, int]
    """By kind."""
    threads: dict[str, int]
    """By name."""
    children: dict[str, int]
    """By name."""


@dataclass(frozen=True)
class Sample:
    """One look. Restarts, latencies and states are by stream."""

    at_s: float
    daemon_mb: float
    worker_mb: float
    files: int
    threads: int
    restarts: dict[str, int]
    worker_restarts: int
    viewers: int
    loop_lag_ms: float
    """The worst of the last 30 s."""
    latency_ms: dict[str, dict[str, float | None]]
    states: dict[str, str]

    def latency(self, share: str) -> float:
        """Of the stream that is worst off, ms."""
        return max((each[share] or 0.0 for each in self.latency_ms.values()), default=0.0)


@dataclass(frozen=True)
class Visit:
    """Of one viewer."""

    stream: str
    view: str
    pictures: int
    survived: bool
    """The session was there to the end."""
    times_went_on: bool


@dataclass(frozen=True)
class Verdict:
    what: str
    met: bool | None
    """None: the run was too short."""
    figures: str


@dataclass
class Report:
    settled_s: float
    samples: list[Sample] = field(default_factory=list)
    visits: list[Visit] = field(default_factory=list)
    before: Held | None = None
    """With all well and no viewer, as ``after``."""
    after: Held | None = None
    returns: dict[str, list[float | None]] = field(default_factory=lambda: {"dies": [], "hangs": []})
    """Seconds from each return of a camera to its stream's; None: not before the next blow."""
    log: str = ""
    on_sample: Callable[[Sample], None] = lambda sample: None

    def add(self, sample: Sample) -> None:
        self.samples.append(sample)
        self.on_sample(sample)

    # -- verdicts ---------------------------------------------------------------------------------

    def verdicts(self) -> list[Verdict]:
        return [
            *self._held(),
            *self._viewers(),
            self._restarts(),
            *self._returned(),
            self._log(),
            *self._memory(),
        ]

    def _held(self) -> Iterator[Verdict]:
        """Before the chaos and after it; what there is in between goes up and down with the viewers."""
        assert self.before is not None
        assert self.after is not None
        for what in ("files", "threads", "children"):
            before, after = getattr(self.before, what), getattr(self.after, what)
            counts = [sum(held.values()) for held in (before, after)]
            gained = {kind: n for kind, n in after.items() if n > before.get(kind, 0)}
            figures = f"{counts[0]} before, {counts[1]} after; more: {gained}"
            yield Verdict(f"{what} as before", counts[1] <= counts[0], figures)

    def _viewers(self) -> Iterator[Verdict]:
        lost = [visit for visit in self.visits if not visit.survived]
        yield Verdict(
            "every session survived", bool(self.visits) and not lost, f"{len(self.visits)} visits, lost {lost}"
        )
        back = [visit for visit in self.visits if not visit.times_went_on]
        pictures = sum(visit.pictures for visit in self.visits)
        yield Verdict("times never went back", not back, f"{pictures} pictures, went back {back}")

    def _restarts(self) -> Verdict:
        """Of those that are struck; the others, and the worker, ran through."""
        last = self.samples[-1]
        struck = {name: count for name, count in last.restarts.items() if name in ("dies", "hangs")}
        others = sum(last.restarts.values()) - sum(struck.values()) + last.worker_restarts
        return Verdict("only what was struck restarted", min(struck.values()) > 0 and others == 0, str(last.restarts))

    def _returned(self) -> Iterator[Verdict]:
        """The one that hangs gives no sign of its return: its stream comes back when the back-off says so."""
        for stream, limit_s in (("dies", BACK_S), ("hangs", math.inf)):
            times = self.returns[stream]
            late = [took_s for took_s in times if took_s is None or took_s > limit_s]
            slowest = sorted((took_s for took_s in times if took_s is not None), reverse=True)[:3]
            limit = "before it does so again" if limit_s == math.inf else f"within {limit_s:g} s"
            figures = f"{len(times)} returns, the slowest after {slowest} s, {times.count(None)} not in time"
            yield Verdict(f"what {stream} is back {limit}", not late, figures)

    def _log(self) -> Verdict:
        bad = [line for line in self.log.splitlines() if " ERROR " in line or "Traceback" in line]
        return Verdict("no error in the log", not bad, "; ".join(bad[:3]) or "none")

    def _memory(self) -> Iterator[Verdict]:
        """The median of each minute against that of the first one after settling."""
        minutes = self._minutes(self.settled_s)
        for what in ("daemon", "worker"):
            medians = [statistics.median(getattr(sample, f"{what}_mb") for sample in minute) for minute in minutes]
            drift = max((abs(each / medians[0] - 1) for each in medians[1:]), default=0.0)
            figures = f"{medians[0]:.1f} MB, then up to {drift:.1%} off" if medians else "too short"
            met = drift <= DRIFT if len(medians) > 1 else None
            yield Verdict(f"memory of the {what} within {DRIFT:.0%}", met, figures)

    def _minutes(self, since_s: float = 0.0) -> list[list[Sample]]:
        """The samples of each, and none of a last one that has only begun."""
        minutes: dict[int, list[Sample]] = {}
        for sample in self.samples:
            if sample.at_s >= since_s:
                minutes.setdefault(int(sample.at_s // MINUTE_S), []).append(sample)
        whole = self.samples[-1].at_s // MINUTE_S if self.samples else 0
        return [each for minute, each in minutes.items() if minute < whole] or list(minutes.values())

    # -- for people and programs --------------------------------------------------------------------

    def table(self) -> str:
        rows = [f"{'minute':>6}{'daemon MB':>11}{'worker MB':>11}{'files':>7}{'threads':>9}{'restarts':>10}"]
        rows[0] += f"{'p50 ms':>8}{'p95 ms':>8}{'lag ms':>8}"
        for minute in self._minutes():
            values = [statistics.median(getattr(sample, name) for sample in minute) for name in _MEDIANS]
            values += [sum(minute[-1].restarts.values())]
            values += [statistics.median(sample.latency(share) for sample in minute) for share in ("p50", "p95")]
            values += [max(sample.loop_lag_ms for sample in minute)]
            rows.append(f"{minute[0].at_s // MINUTE_S:6.0f}{_line(values)}")
        verdicts = [f"{_SAID[verdict.met]:>8}  {verdict.what}: {verdict.figures}" for verdict in self.verdicts()]
        return "\n".join([*rows, "", *verdicts])

    def json(self) -> dict[str, Any]:
        return {
            "verdicts": [asdict(verdict) for verdict in self.verdicts()],
            "before": asdict(self.before) if self.before else None,
            "after": asdict(self.after) if self.after else None,
            "returns": self.returns,
            "samples": [asdict(sample) for sample in self.samples],
            "visits": [asdict(visit) for visit in self.visits],
        }


_MEDIANS = ("daemon_mb", "worker_mb", "files", "threads")
_SAID = {True: "met", False: "NOT MET", None: "unknown"}


def _line(values: list[float]) -> str:
    daemon, worker, files, threads, restarts, p50, p95, lag = values
    return f"{daemon:11.1f}{worker:11.1f}{files:7.0f}{threads:9.0f}{restarts:10.0f}{p50:8.1f}{p95:8.1f}{lag:8.1f}"
