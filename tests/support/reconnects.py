"""``python -m tests.support.reconnects URL ...``: streams that reconnect without waiting, on a network that is played.

For each line on stdin, one of JSON: how often each opened its camera again, and how many frames it had.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from streamd.concurrency.backoff import Backoff
from streamd.config.sections import RecordingConfig, StreamConfig
from streamd.depth.estimator import ModelInfo
from streamd.host import allocator
from streamd.media.frames import FloatImage
from streamd.streams.stream import Stream
from streamd.telemetry.metrics import Metrics
from tests.e2e.processes import resident_mb
from tests.support.played import PlayedService


@dataclass(frozen=True)
class Facts:
    """Of the process."""

    restarts: list[int]
    frames: list[int]


class Reconnecting:
    """The parent's end."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self) -> Facts:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        return Facts(**json.loads(self._process.stdout.readline()))

    @property
    def rss_mb(self) -> float:
        return resident_mb(self.pid)

    @property
    def files(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    @property
    def threads(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/task"))


@contextmanager
def reconnecting(log: Path, *urls: str) -> Iterator[Reconnecting]:
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.reconnects", *urls],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    try:
        yield Reconnecting(process)
        process.communicate(timeout=20)  # hangs up, and waits
        assert process.returncode == 0, log.read_text()
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()


# -- the child's end ------------------------------------------------------------------------------


class Forgetful(PlayedService):
    """Keeps no picture: what grows is not the test's."""

    def submit(self, info: ModelInfo, planes: FloatImage, **more: object) -> Future[FloatImage]:
        future = super().submit(info, planes, **more)
        self.waiting.clear()
        return future


async def main() -> None:
    allocator.configure()  # as in a daemon: else heaps grow as chance would have it
    metrics, service = Metrics(), Forgetful()
    streams = [_stream(f"camera-{number}", url, service, metrics) for number, url in enumerate(sys.argv[1:])]
    questions = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(questions), sys.stdin)
    running = [asyncio.create_task(stream.run()) for stream in streams]
    while await questions.readline():
        allocator.release_memory()
        restarts = _counts(metrics, "streamd_source_restarts_total", streams)
        frames = _counts(metrics, "streamd_frames_captured_total", streams)
        print(json.dumps({"restarts": restarts, "frames": frames}), flush=True)
    for stream in streams:
        stream.stop()
    await asyncio.gather(*running)


def _stream(name: str, url: str, service: PlayedService, metrics: Metrics) -> Stream:
    config = StreamConfig(source=url, read_timeout_s=5)
    backoff = Backoff(first_s=0, cap_s=0)
    return Stream(name, config, service, metrics.of_stream(name), RecordingConfig(), backoff=backoff)  # type: ignore[arg-type]


def _counts(metrics: Metrics, counter: str, streams: list[Stream]) -> list[int]:
    """One per stream, over all its other labels."""
    sums = {stream.name: 0 for stream in streams}
    for family in metrics.registry.collect():
        for sample in family.samples:
            if sample.name == counter:
                sums[sample.labels["stream"]] += int(sample.value)
    return list(sums.values())


if __name__ == "__main__":
    asyncio.run(main())
