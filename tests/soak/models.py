"""Fifty changes of the model under a viewer, and a box that loses a core: ``python -m tests.soak.models``.

Prints JSON. Takes minutes and a quiet box, so no test runs it; `make test` has six changes and a played box.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import threading
import time
import urllib.request
from itertools import pairwise
from pathlib import Path
from typing import Any

from streamd.concurrency import threads
from streamd.config.sections import ModelConfig
from streamd.depth.service import DepthService
from streamd.depth.store import ModelStore
from streamd.telemetry.metrics import resident_bytes
from tests.e2e.processes import Daemon
from tests.integration.test_model_changes import Viewer, outcome
from tests.support.checkpoints import write_midas_small
from tests.support.settings import write_settings


def install(root: Path) -> ModelStore:
    store = ModelStore(root / "models", root / "cache", check=lambda *_: None)
    store.import_file("midas_small", write_midas_small(root / "midas_small.pt"))
    return store


def switch(store: ModelStore, count: int) -> dict[str, Any]:
    """Gaps are of a viewer who asks again at once; memory is that of this process and its worker, on one model."""
    names = ("midas_small", "embedded")
    service = DepthService(ModelConfig(name="embedded", precision="fp32", download=False), store, slots=8)
    service.start()
    viewer, memory, took = Viewer(service), [], []
    with service.leased(live=True):
        service.wait_ready(60)
        thread = threads.start("viewer", viewer.run)
        for number in range(count):
            began = time.monotonic()
            config = service.config.model_copy(update={"name": names[number % 2]})
            assert outcome(service.change(config), 120) is None
            took.append(time.monotonic() - began)
            if number % 2:
                time.sleep(0.5)
                memory.append(resident_bytes(os.getpid()) + resident_bytes(service.worker_pid or 0))
        viewer.stop.set()
        thread.join()
    service.close()
    settled = memory[len(memory) // 5 :]
    return {
        "changes": count,
        "lost": viewer.lost,
        "worst_gap_s": round(viewer.worst_gap_s, 3),
        "median_change_s": round(statistics.median(took), 3),
        "memory_growth": round(settled[-1] / settled[0] - 1, 4),
        "memory_mb": [round(each / 1e6) for each in (memory[0], memory[-1])],
    }


class Pinned:
    """Keeps every worker of a daemon on one core, as it comes."""

    def __init__(self, daemon: Daemon, core: int) -> None:
        self._daemon, self._core = daemon, core
        self.on = threading.Event()
        self.stop = threading.Event()

    def run(self) -> None:
        while not self.stop.wait(0.05):
            for worker in self._daemon.workers() if self.on.is_set() else ():
                for task in Path(f"/proc/{worker}/task").glob("*"):
                    try:
                        os.sched_setaffinity(int(task.name), {self._core})
                    except OSError:
                        pass  # it has ended


def govern(root: Path, seconds: int, share: float) -> dict[str, Any]:
    """``min_fps`` is this share of what the box does on all its cores; then its workers may use one only."""
    source = {"source": "lavfi:testsrc2=size=1280x720:rate=60", "record": ["depth"]}
    model = {"name": "midas_small", "precision": "fp32", "download": False}
    settings = root / "streamd.toml"
    recording = {"directory": str(root / "recordings"), "max_gb": 1}
    write_settings(settings, {"porch": source}, model=model, recording=recording)
    daemon = Daemon(("--config", str(settings)), root).start().until_ready(60)
    pinned = Pinned(daemon, min(os.sched_getaffinity(0)))
    thread = threads.start("pinned", pinned.run)
    try:
        time.sleep(8)
        free_fps = daemon.stream("porch")["fps_out"]
        min_fps = round(share * free_fps, 1)
        write_settings(settings, {"porch": source}, model={**model, "min_fps": min_fps}, recording=recording)
        os.kill(daemon.pid, 1)
        time.sleep(3)
        pinned.on.set()
        began, seen = time.monotonic(), []
        while time.monotonic() < began + seconds:
            time.sleep(1)
            with urllib.request.urlopen(f"{daemon.url}api/v1/streams") as answer:
                told = json.load(answer)
            seen.append(
                (round(time.monotonic() - began, 1), told["model"].get("input_size"), told["streams"][0]["fps_out"])
            )
    finally:
        pinned.stop.set()
        thread.join()
        daemon.close()
    changes = [b[0] for a, b in pairwise(seen) if a[1] != b[1]]
    held = [fps for when, _, fps in seen if when > 10]
    return {
        "free_fps": free_fps,
        "min_fps": min_fps,
        "changed_at_s": changes,
        "input_size": seen[-1][1],
        "mean_fps": round(statistics.mean(held), 1),
        "held": round(statistics.mean(held) / min_fps, 3),
        "series": seen,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--changes", type=int, default=50)
    parser.add_argument("--seconds", type=int, default=130, help="of the governor")
    parser.add_argument("--share", type=float, default=0.8)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        store = install(root)
        found: dict[str, Any] = {}
        if options.changes:
            found["changes"] = switch(store, options.changes)
        if options.seconds:
            found["governor"] = govern(root, options.seconds, options.share)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
