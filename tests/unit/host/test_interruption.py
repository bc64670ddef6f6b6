from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest

from streamd.host.interruption import AGAIN_S, end_in_order

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def signals() -> Iterator[None]:
    """Of a command in a terminal; in the background of a script, SIGINT is ignored."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_each_ends_the_job_as_ctrl_c_does(number: signal.Signals) -> None:
    end_in_order()
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), number)


def test_another_one_breaks_off_the_end_only_when_it_takes_long(monkeypatch: pytest.MonkeyPatch) -> None:
    now_s = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now_s)
    end_in_order()
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGTERM)
    now_s += AGAIN_S + 1
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)


def test_what_is_ignored_stays_so() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    end_in_order()
    os.kill(os.getpid(), signal.SIGHUP)
