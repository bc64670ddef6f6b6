"""streamd.daemon: what a reload may and may not do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from streamd.config.sections import Config, StreamConfig
from streamd.daemon import Daemon
from streamd.depth.store import ModelStore
from streamd.errors import ConfigError, Problem
from tests.support.waiting import timeout

pytestmark = pytest.mark.timeout(20)


class Bench:
    """A daemon that waits for SIGHUP; nothing else of it runs."""

    def __init__(self, home: Path) -> None:
        self.result: Config | Exception = Config()
        self.daemon = Daemon(Config(), ModelStore(home / "models", home / "cache"), self._read)

    def _read(self) -> Config:
        if isinstance(self.result, Exception):
            raise self.result
        return self.result

    async def reload(self, done: Callable[[], object]) -> None:
        self.daemon._reload_wanted.set()
        async with timeout(5):
            while not done():  # noqa: ASYNC110
                await asyncio.sleep(0.005)


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    bench = Bench(tmp_path)
    reloads = asyncio.create_task(bench.daemon._reloads())
    yield bench
    assert not reloads.done()
    reloads.cancel()
    await asyncio.wait([reloads])
    await bench.daemon._close()


async def test_a_reload_applies_the_streams(bench: Bench) -> None:
    bench.result = Config(streams={"porch": StreamConfig(source="demo:")})
    await bench.reload(lambda: "porch" in bench.daemon.streams)


async def test_a_bad_file_changes_nothing(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.result = ConfigError([Problem("streams.x.source", "", "is required")])
    await bench.reload(lambda: "configuration not taken: streams.x.source: is required" in caplog.text)
    assert bench.daemon.systemd.warning == "the changed configuration is bad and was not taken"


@pytest.mark.parametrize("where", ["while it is read", "while it is applied"])
async def test_a_fault_of_ours_does_not_end_the_daemon(
    bench: Bench, where: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """M1: viewers would lose their streams."""

    async def fail(*_: object) -> None:
        raise KeyError("porch")

    if where == "while it is read":
        bench.result = KeyError("porch")
    else:
        monkeypatch.setattr(bench.daemon.streams, "apply", fail)
    await bench.reload(lambda: "internal error while the configuration was read again" in caplog.text)
    assert "not taken" in bench.daemon.systemd.warning

    monkeypatch.undo()
    bench.result = Config(streams={"porch": StreamConfig(source="demo:")})
    await bench.reload(lambda: "porch" in bench.daemon.streams and not bench.daemon.systemd.warning)
