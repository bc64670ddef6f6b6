"""For every test: nothing is left behind, the loop is not blocked, nothing is written to anyone's home."""

from __future__ import annotations

import asyncio
import gc
import inspect
import logging
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.support.leaks import Held, leaked_since
from tests.support.schedule import Schedule, longest_first
from tests.support.waiting import TIME_SCALE_VARIABLE, own_time, scaled

# Of the loop's own time, and far above what threads that hold the GIL while the box runs others add to it.
MAX_LOOP_LAG_S = scaled(1.5)
# aioice: a connection that is closed while it still connects leaves this behind, which ends by itself after 7 s.
ENDS_BY_ITSELF = "Connection.query_consent"
HEARTBEAT_S = 0.02
MEASURED = {"unit", "integration"}

settings.register_profile(
    "streamd",
    deadline=None,
    database=None,
    derandomize=True,
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("streamd")


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Schedule:
    return Schedule(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The longest begin first; time-outs are scaled; asynchronous tests are watched from inside their loop too;
    coverage is that of unit and integration tests."""
    longest_first(items)
    default_s = float(config.getini("timeout"))
    for item in items:
        if not MEASURED & set(item.path.parts):
            item.add_marker("no_cover")
        limit = item.get_closest_marker("timeout") or pytest.mark.timeout(default_s).mark
        item.add_marker(pytest.mark.timeout(scaled(*limit.args), **limit.kwargs), append=False)
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            names = item.fixturenames
            names.insert(names.index("leaves_nothing_behind") + 1, "leaves_the_loop_alone")


def pytest_collection_finish() -> None:
    """What is there now lives to the end: the garbage collector would look at it each time, 0.4 s on a quiet box."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def streamd_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where weights and caches go, of this process and its children."""
    home = tmp_path_factory.mktemp("streamd-home")
    before = {name: value for name, value in os.environ.items() if name.startswith("STREAMD_")}
    before.pop(TIME_SCALE_VARIABLE, None)  # children of tests wait too
    for name in before:
        del os.environ[name]
    os.environ["STREAMD_HOME"] = str(home)
    yield home
    del os.environ["STREAMD_HOME"]
    os.environ.update(before)


@pytest.fixture(autouse=True)
def leaves_nothing_behind(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """Fails a test that leaks a thread, a child process or a file descriptor.

    What fixtures of a wider scope hold is there before and after.
    """
    before = Held.now()
    yield
    if leaked := leaked_since(before, lambda: keep_text_alone(caplog)):
        pytest.fail(f"leaked: {leaked}", pytrace=False)


def keep_text_alone(caplog: pytest.LogCaptureFixture) -> None:
    """Of what was logged: an exception holds the frames that it came through, and all that is in them. A thread may
    have logged it when the test had ended already."""
    for phase in ("setup", "call", "teardown"):
        for record in caplog.get_records(phase):
            record.msg, record.args, record.exc_info = record.getMessage(), (), None


@pytest.fixture(autouse=True)
def logging_restored() -> Iterator[None]:
    """Whatever a test sets up, such as by running a command."""

    def loggers() -> list[logging.Logger]:
        root = logging.getLogger()
        return [root, *(known for known in root.manager.loggerDict.values() if isinstance(known, logging.Logger))]

    levels, handlers = {logger: logger.level for logger in loggers()}, logging.getLogger().handlers[:]
    yield
    logging.getLogger().handlers[:] = handlers
    for logger in loggers():
        logger.setLevel(levels.get(logger, logging.NOTSET))


def _is_ours(task: asyncio.Task[object]) -> bool:
    return task is not asyncio.current_task() and getattr(task.get_coro(), "__qualname__", "") != ENDS_BY_ITSELF


@pytest.fixture
async def leaves_the_loop_alone() -> AsyncIterator[None]:
    """Fails an asynchronous test that leaks a task or blocks the loop."""
    lags = [0.0]

    async def beat() -> None:
        while True:
            due = own_time() + HEARTBEAT_S
            await asyncio.sleep(HEARTBEAT_S)
            lags.append(own_time() - due)

    heart = asyncio.create_task(beat(), name="heartbeat")
    known = asyncio.all_tasks()
    yield
    for _ in range(100):
        leaked = {task for task in asyncio.all_tasks() - known if _is_ours(task)}
        if not leaked:
            break
        await asyncio.sleep(0.01)
    heart.cancel()
    await asyncio.gather(heart, return_exceptions=True)
    assert not leaked, f"leaked tasks: {sorted(task.get_name() for task in leaked)}"
    assert max(lags) < MAX_LOOP_LAG_S, f"the event loop was blocked for {max(lags):.2f} s"
