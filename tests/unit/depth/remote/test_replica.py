"""When a server serves: at which sizes, and what ends it."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import pytest

from streamd.concurrency.backoff import Backoff
from streamd.depth.models import find_model
from streamd.depth.remote.answer import NoAnswer
from streamd.depth.remote.calibration import MAX_SIZES, Calibration, Pixels, Size
from streamd.depth.remote.replica import WAITS, Limits, Replica
from streamd.media.frames import ByteImage, FloatImage
from tests.support.inference_server import red
from tests.support.waiting import until

HOW = find_model("embedded").preprocessing
LIMITS = Limits(watch_s=0.01, backoff=Backoff(first_s=0.01, cap_s=0.05))


class Client:
    """Answers by a function."""

    def __init__(self, infer: Callable[[ByteImage], FloatImage]) -> None:
        self.answer = infer
        self.sizes: list[Size] = []

    def connect(self, until: float) -> None: ...

    def check_ready(self, until: float) -> None: ...

    def check_metadata(self, until: float) -> None: ...

    def close(self) -> None: ...

    def infer(self, pictures: ByteImage, until: float) -> FloatImage:
        self.sizes.append(pictures.shape[1:3])
        return self.answer(pictures)


def right(pictures: ByteImage) -> FloatImage:
    return np.asarray(red(pictures)[0])


def calibration(*sizes: Size) -> Calibration:
    made = Calibration(lambda planes, live: right(Pixels(HOW).pictures(planes)), HOW)
    for size in sizes:
        assert made.see(size, live=True)
    return made


def test_it_serves_the_sizes_at_which_it_agrees() -> None:
    """As a server whose network was made for one size."""

    def of_one_size(pictures: ByteImage) -> FloatImage:
        if pictures.shape[1:3] != (64, 96):
            raise NoAnswer("INVALID_ARGUMENT: unexpected shape")
        return right(pictures)

    told: list[str] = []
    client = Client(of_one_size)
    replica = Replica(1, client, calibration((32, 32), (64, 96)), LIMITS, lambda _, reason: told.append(reason))
    replica.start()
    until("it serves one", lambda: replica.usual_s((64, 96)) is not None)
    count = len(client.sizes)
    until("it is looked at", lambda: len(client.sizes) > count + 3)
    replica.close()
    assert replica.usual_s((32, 32)) is None
    assert told[-1] == ""
    assert client.sizes.count((32, 32)) == 1, "it is not asked again and again"


def test_it_is_compared_when_there_is_a_size() -> None:
    told: list[str] = []
    found = calibration()
    replica = Replica(1, Client(right), found, LIMITS, lambda _, reason: told.append(reason))
    replica.start()
    until("it waits", lambda: told[-1] == WAITS)
    found.see((32, 64), live=True)
    replica.look()
    until("it serves", lambda: told[-1] == "")
    replica.close()


def test_frames_do_not_wait_while_another_size_is_compared() -> None:
    """What the network here makes of it takes as long as that takes, for a large one seconds."""
    making, let_go = threading.Event(), threading.Event()

    def infer(planes: FloatImage, live: bool) -> FloatImage:
        if planes.shape[2:] == (64, 96):
            making.set()
            assert let_go.wait(10)
        return right(Pixels(HOW).pictures(planes))

    told: list[str] = []
    found = Calibration(infer, HOW)
    found.see((32, 64), live=True)
    replica = Replica(1, Client(right), found, LIMITS, lambda _, reason: told.append(reason))
    replica.start()
    until("it serves", lambda: told[-1] == "")
    try:
        found.see((64, 96), live=True)
        assert making.wait(10)
        asked = threading.Thread(
            target=lambda: told.append(str(replica.infer(np.zeros((1, 32, 64, 3), np.uint8)).shape))
        )
        asked.start()
        asked.join(5)
        assert told[-1] == "(32, 64)"
    finally:
        let_go.set()
        asked.join()
        replica.close()


@pytest.mark.parametrize("error", [RuntimeError("a library's"), MemoryError(), RecursionError()])
def test_whatever_is_raised_ends_its_service_and_no_thread(error: Exception) -> None:
    told: list[str] = []
    client = Client(right)
    replica = Replica(1, client, calibration((32, 64)), LIMITS, lambda _, reason: told.append(reason))
    replica.start()
    until("it serves", lambda: told[-1] == "")

    def fail(pictures: ByteImage) -> FloatImage:
        raise error

    client.answer = fail
    with pytest.raises(NoAnswer):
        replica.infer(np.zeros((1, 32, 64, 3), np.uint8))
    until("it says so", lambda: repr(error) in told)
    client.answer = right
    until("it serves again", lambda: told[-1] == "")
    replica.close()


def test_sizes_of_pictures_leave_room_for_those_of_streams() -> None:
    found = calibration()
    assert [found.see((32, 32 * n), live=False) for n in range(1, 9)] == [True] * 4 + [False] * 4
    assert [found.see((64, 32 * n), live=True) for n in range(1, 15)] == [True] * 12 + [False] * 2
    assert len(found.sizes) == sum(MAX_SIZES.values())
