"""Frames between two replicas and the network here, while replicas fail in every way."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import numpy as np
import pytest

from streamd.concurrency.backoff import Backoff
from streamd.depth.models import find_model
from streamd.depth.protocol import WorkerJob
from streamd.depth.remote.calibration import Pixels
from streamd.depth.remote.replica import UNTRIED, WAITS, Limits
from streamd.depth.remote.runtime import RemoteRuntime
from streamd.depth.runtimes.runtime import Done
from streamd.media.frames import FloatImage
from tests.support.inference_server import HTTP_ONLY, PlayedServer, red
from tests.support.relay import Relay
from tests.support.waiting import scaled, until

HEIGHT, WIDTH = 32, 64
SLOTS = 4
PIXELS = Pixels(find_model("embedded").preprocessing)
LIMITS = Limits(
    least_s=scaled(0.25),
    most_s=scaled(0.4),
    watch_s=0.1,
    backoff=Backoff(first_s=0.05, factor=1.2, cap_s=0.2, healthy_after_s=1.0),
)
SCHEMES = ("http", "grpc")
FAULTS = ("503", "garbage", "wrong-shape", "wrong-type", "wrong-size", "not-finite", "other-id", "slow", "hang")


class Local:
    """The same network, here."""

    precision = "fp32"

    def __init__(self) -> None:
        self.answered = 0

    def is_compiled(self, height: int, width: int, *, live: bool) -> bool:
        return True

    def submit(
        self, slot: int, planes: FloatImage, depth: FloatImage, done: Done, *, live: bool, patient: bool = False
    ) -> None:
        self.answered += slot < SLOTS
        depth[:] = red(PIXELS.pictures(planes))
        done(None)


@dataclass
class Site:
    """A runtime and what it told."""

    runtime: RemoteRuntime
    local: Local
    reasons: dict[int, str] = field(default_factory=dict)
    number: int = 0

    def frame(self, *, patient: bool = False, slot: int = 0, number: int | None = None) -> str:
        """A picture with a number of its own; why it is lost, or nothing. Fails when it got another's depth."""
        self.number += 1
        value = (number or self.number) % 200 + 20
        picture = np.full((1, HEIGHT, WIDTH, 3), value, np.uint8)
        picture[0, ::2] //= 2
        planes, depth = PIXELS.planes(picture), np.zeros((1, HEIGHT, WIDTH), np.float32)
        answered: list[str | None] = []
        done = threading.Event()

        def finish(problem: str | None) -> None:
            answered.append(problem)
            done.set()

        self.runtime.submit(slot, planes, depth, finish, live=True, patient=patient)
        assert done.wait(scaled(5))
        if answered[0] is None:
            np.testing.assert_array_equal(depth[0], red(picture)[0])
        return answered[0] or ""

    def serves(self, *numbers: int) -> None:
        until(f"{numbers} serve", lambda: {n for n, reason in self.reasons.items() if not reason} == set(numbers))

    def here(self) -> bool:
        """Whether a frame is answered here."""
        before = self.local.answered
        self.frame()
        return self.local.answered > before


@contextmanager
def site(*urls: str, token: str = "", model: str = "embedded") -> Iterator[Site]:
    job = WorkerJob(model, "remote", "fp32", "", "", "", 1, 1, SLOTS, 32, 256, HEIGHT * WIDTH, endpoints=urls)
    local = Local()
    reasons: dict[int, str] = {}
    runtime = RemoteRuntime(job, local, token, reasons.__setitem__, LIMITS)
    made = Site(runtime, local, reasons)
    try:
        yield made
    finally:
        runtime.close()


@pytest.fixture(scope="module")
def played() -> Iterator[dict[str, list[PlayedServer]]]:
    """Two by each scheme."""
    with ExitStack() as stack:
        yield {scheme: [stack.enter_context(PlayedServer(scheme)) for _ in range(2)] for scheme in SCHEMES}


@pytest.fixture(params=SCHEMES)
def scheme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def servers(played: dict[str, list[PlayedServer]], scheme: str) -> Iterator[list[PlayedServer]]:
    """Without a fault."""
    for server in played[scheme]:
        server.play("")
    yield played[scheme]
    for server in played[scheme]:
        if not server.is_alive:
            server.start()


@pytest.fixture
def both(servers: list[PlayedServer]) -> Iterator[Site]:
    """Two replicas that serve."""
    with site(*(server.url for server in servers)) as made:
        assert made.here(), "what was not compared is not used"
        made.serves(1, 2)
        yield made


class TestWhileAllIsWell:
    def test_frames_go_to_replicas_and_get_their_own_depth(self, both: Site, servers: list[PlayedServer]) -> None:
        before = both.local.answered
        lost = [both.frame() for _ in range(30)]
        assert not any(lost)
        assert both.local.answered == before

    def test_frames_at_once_are_shared_and_get_their_own_depth(self, both: Site, servers: list[PlayedServer]) -> None:
        asked = [server.asked for server in servers]
        lost: list[str] = []

        def ask(slot: int) -> None:
            lost.extend(both.frame(slot=slot, number=20 * slot + n) for n in range(20))

        threads = [threading.Thread(target=ask, args=(slot,)) for slot in range(SLOTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not any(lost)
        more = [server.asked - before for server, before in zip(servers, asked, strict=True)]
        assert min(more) >= 10


class TestAFault:
    @pytest.mark.parametrize("fault", FAULTS)
    def test_loses_two_live_frames_at_most(self, both: Site, servers: list[PlayedServer], fault: str) -> None:
        servers[0].play(fault)
        lost = [both.frame() for _ in range(40)]
        assert len(list(filter(None, lost))) <= 2
        both.serves(2)
        servers[0].play("")
        both.serves(1, 2)

    @pytest.mark.parametrize("fault", ["503", "hang"])
    def test_loses_no_frame_of_a_file(self, both: Site, servers: list[PlayedServer], fault: str) -> None:
        servers[0].play(fault)
        assert not any(both.frame(patient=True) for _ in range(20))

    def test_kill(self, both: Site, servers: list[PlayedServer]) -> None:
        servers[0].kill()
        assert len(list(filter(None, (both.frame() for _ in range(40))))) <= 2
        both.serves(2)
        servers[0].start()
        both.serves(1, 2)

    def test_stopped(self, both: Site, servers: list[PlayedServer]) -> None:
        servers[0].stop()
        try:
            assert len(list(filter(None, (both.frame() for _ in range(40))))) <= 2
            both.serves(2)
        finally:
            servers[0].go_on()
        both.serves(1, 2)

    def test_half_open_tcp(self, servers: list[PlayedServer]) -> None:
        first, second = servers
        with Relay(first.port) as relay, site(first.url.replace(str(first.port), str(relay.port)), second.url) as both:
            both.frame()
            both.serves(1, 2)
            relay.silent = True
            assert len(list(filter(None, (both.frame() for _ in range(40))))) <= 2
            both.serves(2)
            relay.silent = False
            both.serves(1, 2)

    @pytest.mark.parametrize("fault", ["unready", "model-unready", "wrong-answer"])
    def test_seen_by_looking(self, both: Site, servers: list[PlayedServer], fault: str) -> None:
        servers[0].play(fault)
        both_reasons = both.reasons
        until("it serves no more", lambda: both_reasons[1])
        both.serves(2)
        servers[0].play("")
        both.serves(1, 2)


class TestAllAway:
    def test_here_within_a_second_and_back(self, both: Site, servers: list[PlayedServer]) -> None:
        for server in servers:
            server.stop()
        try:
            began = time.monotonic()
            until("frames are answered here", both.here, 1.0, step_s=0)
            assert time.monotonic() - began < scaled(1.0)
            both.serves()
        finally:
            for server in servers:
                server.go_on()
        both.serves(1, 2)
        assert not both.here()

    def test_frames_of_files_are_answered_here(self, both: Site, servers: list[PlayedServer]) -> None:
        for server in servers:
            server.kill()
        assert not any(both.frame(patient=True) for _ in range(10))

    def test_from_the_start(self) -> None:
        with site("http://127.0.0.1:1", "grpc://127.0.0.1:1", "http://no-such-name.invalid:1") as made:
            assert not any(made.frame() for _ in range(5))
            until("all are tried", lambda: len(made.reasons) == 3 and all(made.reasons.values()))
            assert made.local.answered >= 5


class TestWhoMayServe:
    @pytest.mark.parametrize("fault", ["wrong-answer", "other-metadata", "unready", "not-finite", "slow"])
    def test_not_one_that_was_never_right(self, servers: list[PlayedServer], fault: str) -> None:
        servers[0].play(fault)
        with site(servers[0].url) as made:
            assert made.here()
            until("it was tried", lambda: made.reasons[1] not in (UNTRIED, WAITS))
            for _ in range(5):
                assert made.here()
            servers[0].play("")
            made.serves(1)

    def test_with_its_token_only(self, scheme: str) -> None:
        with PlayedServer(scheme, token="tell-me-all") as server:
            with site(server.url, token="another-one") as made:
                made.frame()
                until("it is refused", lambda: "who are you?" in made.reasons.get(1, ""))
            with site(server.url, token="tell-me-all") as made:
                made.frame()
                made.serves(1)

    def test_a_model_that_is_not_there(self, servers: list[PlayedServer]) -> None:
        with site(servers[0].url, model="midas_small") as made:
            until("it says so", lambda: "midas_small" in made.reasons[1] or "HTTP 404" in made.reasons[1])


class TestHostile:
    """By HTTP, where servers write what they like."""

    @pytest.mark.parametrize("fault", HTTP_ONLY)
    def test_is_bounded_in_time_and_size(self, played: dict[str, list[PlayedServer]], fault: str) -> None:
        hostile = played["http"][0]
        hostile.play("")
        with site(hostile.url) as made:
            made.frame()
            made.serves(1)
            hostile.play(fault)
            began = time.monotonic()
            lost = [made.frame() for _ in range(10)]
            assert len(list(filter(None, lost))) <= 2
            assert time.monotonic() - began < scaled(3)
            made.serves()
