"""Many who ask for heavy pictures at once: the stream goes on, and nobody gets anything but a picture or "busy"."""

from __future__ import annotations

import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.conftest import StartDaemon
from tests.e2e.processes import Daemon
from tests.support.waiting import TIME_SCALE, until

SOURCE = "lavfi:testsrc2=size=1280x720:rate=20"
NAME = "lavfi-testsrc2"
CLIENTS = 8
WINDOW_S = 6.0
MIN_FPS = 3.0
"""It makes some 20 when nobody asks; with stills in the publishing thread less than one."""
PUBLISHED = "streamd_frames_published_total"


@pytest.fixture(scope="module")
def site(module_daemon: StartDaemon, tmp_path_factory: pytest.TempPathFactory) -> Daemon:
    """Recorded, so that there is something to publish for."""
    return module_daemon(SOURCE, "--record", tmp_path_factory.mktemp("recorded")).until_ready()


def ask(site: Daemon, path: str, ends: threading.Event) -> Counter[int]:
    """Again and again. How often each status came."""
    statuses: Counter[int] = Counter()
    while not ends.is_set():
        answer = site.get(path)
        statuses[answer.status] += 1
        if answer.status != 200:
            time.sleep(0.05)
    return statuses


@pytest.mark.timeout(180)
@pytest.mark.parametrize("format", ["png", "npz"])
def test_stills_do_not_stop_the_stream(site: Daemon, format: str) -> None:
    path = f"/api/v1/streams/{NAME}/snapshot?view=side-by-side&format={format}"
    ends = threading.Event()
    with ThreadPoolExecutor(CLIENTS) as pool:
        asking = [pool.submit(ask, site, path, ends) for _ in range(CLIENTS)]
        try:
            first = site.metrics().value(PUBLISHED)
            since = time.monotonic()
            time.sleep(WINDOW_S)  # a rate takes time: there is no event to wait for
            published, took_s = site.metrics().value(PUBLISHED) - first, time.monotonic() - since
        finally:
            ends.set()
    statuses = sum((each.result() for each in asking), Counter())
    print(f"{format}: {published / took_s:.1f} frames/s, answers {dict(statuses)}")
    assert statuses.keys() <= {200, 503}
    assert statuses[200] >= CLIENTS
    assert published / took_s >= MIN_FPS / TIME_SCALE
    assert site.running
    after = site.metrics().value(PUBLISHED)
    until("the stream goes on", lambda: site.metrics().value(PUBLISHED) > after)
