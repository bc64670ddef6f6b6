"""What the daemon costs a small box: memory, and no torch."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.conftest import StartDaemon
from tests.e2e.processes import resident_mb
from tests.support.waiting import until

LIMIT_MB = 600


@pytest.mark.usefixtures("midas_small")
def test_memory_and_no_torch(daemon: StartDaemon, tmp_path: Path) -> None:
    """One 720p stream, MiDaS_small, and somebody who watches: a recorder."""
    # Not "auto": what was measured to be fastest while others kept this box busy may be any.
    runtime = {"STREAMD_MODEL__RUNTIME": "openvino"}
    running = daemon("demo:", "--record", tmp_path, model="midas_small", **runtime).until_ready()
    until("it works", lambda: running.metrics().value("streamd_frames_published_total") > 60)
    stream = running.stream("demo")
    assert (stream["width"], stream["height"]) == (1280, 720)
    assert stream["model"]["name"] == "midas_small"
    assert stream["model"]["runtime"] == "openvino"

    family = [running.pid, running.worker()]
    assert running.children() == family[1:]
    for pid in family:
        assert "libtorch" not in Path(f"/proc/{pid}/maps").read_text()
    until("heaps are trimmed, which is each 10 s", lambda: sum(map(resident_mb, family)) <= LIMIT_MB)

    metrics = running.metrics()
    reported = metrics.value("process_resident_memory_bytes") + metrics.value("streamd_worker_resident_memory_bytes")
    assert reported / 1e6 == pytest.approx(sum(map(resident_mb, family)), rel=0.1)
