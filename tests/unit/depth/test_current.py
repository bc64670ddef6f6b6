"""What the supervisor publishes, and those who wait for it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest

from streamd.concurrency import threads
from streamd.depth.current import Current
from streamd.depth.launcher import Serving
from streamd.errors import InferenceFailed, ModelMissing
from streamd.states import WorkerEnd
from tests.support.waiting import scaled

INFO = object()


def serving(failure: InferenceFailed | None = None) -> Serving:
    return cast(Serving, SimpleNamespace(info=INFO, worker=SimpleNamespace(failure=failure)))


def test_who_waits_gets_what_is_published() -> None:
    current = Current()
    found: list[object] = []
    waiter = threads.start("waiter", lambda: found.append(current.wait_ready(10)))
    current.publish(serving())
    waiter.finished.result(scaled(10))
    assert found == [INFO]
    assert current.is_ready(0)
    assert current.info is INFO


def test_who_waits_gets_what_went_wrong() -> None:
    current = Current()
    missing = ModelMissing("midas_small", "fetch it")
    assert current.fail(missing)
    assert not current.fail(ModelMissing("midas_small", "fetch it")), "no news"
    with pytest.raises(ModelMissing):
        current.wait_ready(0)
    current.publish(serving())
    assert current.failure is None
    current.fail(missing)
    assert current.wait_ready(0) is INFO, "the one that serves goes on"


def test_nothing_in_time_is_an_error() -> None:
    with pytest.raises(InferenceFailed, match="no model is ready"):
        Current().wait_ready(0)


def test_only_a_worker_that_failed_is_withdrawn_for_it() -> None:
    current = Current()
    assert not current.withdraw_failed()
    current.publish(serving())
    assert not current.withdraw_failed()
    current.publish(serving(InferenceFailed(WorkerEnd.CRASHED, "signal 9")))
    assert current.withdraw_failed()
    assert current.withdraw() is None


def test_the_end_wakes_who_waits() -> None:
    current = Current()
    ready: list[bool] = []
    waiter = threads.start("waiter", lambda: ready.append(current.is_ready(10)))
    current.close()
    waiter.finished.result(scaled(10))
    assert ready == [False]
