"""Lets the governor choose the input size of the model that runs, by what was measured of it."""

from __future__ import annotations

import logging
import threading

from streamd.depth.governor import Governor, Load, ladder
from streamd.depth.launcher import Serving
from streamd.depth.preprocess import network_size
from streamd.depth.supervisor import WorkerSupervisor

log = logging.getLogger(__name__)


class Meter:
    """The time that streams wait for the network. Any thread adds; one reads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seconds, self._count = 0.0, 0
        self._read_at: float | None = None
        self.each_s = 0.0
        """For an inference, between the last two readings that saw one."""

    def add(self, seconds: float) -> None:
        with self._lock:
            self._seconds += seconds
            self._count += 1

    def read(self, now_s: float, lanes: int) -> float:
        """Share of the time since the last reading, 0 to 1, where ``lanes`` inferences may be under way at once."""
        with self._lock:
            seconds, count = self._seconds, self._count
            self._seconds, self._count = 0.0, 0
        if count:
            self.each_s = seconds / count
        before, self._read_at = self._read_at, now_s
        if before is None or now_s <= before:
            return 0.0
        return min(1.0, seconds / ((now_s - before) * lanes))


class Governing:
    """One thread, which asks regularly."""

    def __init__(self, supervisor: WorkerSupervisor) -> None:
        self._supervisor = supervisor
        self._governor: Governor | None = None
        self._of: tuple[str, int, float] | None = None
        """The model, its full size, and the rate that the governor is for."""
        self._awaited = False
        """It has chosen a size that is not in use yet."""
        self.meter = Meter()

    def step(self, now_s: float, fps: float | None, total_fps: float, serving: Serving | None) -> None:
        """``fps``: of the slowest stream that is watched and whose source gives enough; None: there is none.
        ``total_fps``: of all streams together."""
        demand = self._supervisor.demand
        load = self._load(now_s, fps, total_fps, demand.lanes) if fps is not None else None
        if serving is None:
            return
        info, full = serving.info, serving.full
        governor = self._for(serving)
        if governor is None:
            return
        in_use = info.spec.preprocessing.input_size
        if governor.size != in_use:
            self._awaited = True
            return
        if self._awaited:
            self._awaited = False
            governor.settle(now_s)
        pictures = demand.sizes or [(full.input_size, full.input_size)]

        def cost(size: int) -> float:
            sizes = [network_size(*picture, full.sized(size)) for picture in pictures]
            return float(sum(width * height for width, height in sizes))

        size = governor.step(now_s, load, cost)
        if size != in_use:
            log.info("%.1f fps: model %s sees pictures of %d px now, not %d", fps or 0.0, info.spec.name, size, in_use)
            self._supervisor.lower(info.spec.reference, size)

    def _load(self, now_s: float, fps: float, total_fps: float, lanes: int) -> Load:
        busy = self.meter.read(now_s, lanes)
        return Load(fps, busy, max(busy, self.meter.each_s * total_fps / lanes))

    def _for(self, serving: Serving) -> Governor | None:
        """None while nothing is to be governed: then it has its full size."""
        min_fps = self._supervisor.in_force.min_fps
        info, full = serving.info, serving.full
        of = (info.spec.reference, full.input_size, min_fps)
        if of != self._of:
            self._of, self._governor = of, Governor(ladder(full), min_fps) if min_fps else None
            if info.spec.preprocessing.input_size != full.input_size:
                self._supervisor.lower(info.spec.reference, full.input_size)
        return self._governor
