from __future__ import annotations

from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamd.concurrency.backoff import Backoff


def test_delays_grow_by_the_factor_up_to_the_cap() -> None:
    backoff = Backoff(first_s=1.0, factor=2.0, cap_s=10.0, jitter=lambda: 0.5)
    assert list(islice(backoff.delays(), 6)) == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


@pytest.mark.parametrize(("jitter", "first"), [(0.0, 0.25), (1.0, 0.75)])
def test_the_first_delay_is_random_around_first_s(jitter: float, first: float) -> None:
    assert next(Backoff(first_s=0.5, jitter=lambda: jitter).delays()) == first


@given(st.floats(0, 100), st.floats(1, 10), st.floats(0.01, 100), st.floats(0, 1))
def test_no_delay_is_ever_above_the_cap_or_below_the_one_before(
    first: float, factor: float, cap: float, jitter: float
) -> None:
    delays = list(islice(Backoff(first, factor, cap, jitter=lambda: jitter).delays(), 200))
    assert delays == sorted(delays)
    assert delays[-1] <= cap


def test_zero_is_for_tests() -> None:
    assert set(islice(Backoff(first_s=0).delays(), 9)) == {0}


def test_streams_do_not_knock_together() -> None:
    assert len({next(Backoff().delays()) for _ in range(20)}) > 15


class TestHealth:
    backoff = Backoff(first_s=1.0, factor=2.0, cap_s=64.0, healthy_after_s=60.0, jitter=lambda: 0.5)

    def test_long_enough_makes_it_forget(self) -> None:
        delays = self.backoff.start()
        for _ in range(10):
            delays.after(0.0)
        assert delays.after(60.0) == pytest.approx(1.0)

    def test_a_camera_that_hangs_once_a_minute_is_soon_back(self) -> None:
        delays = self.backoff.start()
        assert max(delays.after(50.0) for _ in range(100)) <= 2.0

    def test_one_that_lives_for_moments_is_not_hammered(self) -> None:
        delays = self.backoff.start()
        assert [delays.after(1.0) for _ in range(12)][-1] > 30.0

    @given(st.lists(st.floats(0, 1000), max_size=50))
    def test_it_stays_between_the_first_and_the_cap(self, lives: list[float]) -> None:
        delays = self.backoff.start()
        assert all(1.0 <= delays.after(healthy_s) <= 64.0 for healthy_s in lives)


def test_zero_is_for_tests_with_health_too() -> None:
    delays = Backoff(first_s=0, cap_s=0).start()
    assert [delays.after(healthy_s) for healthy_s in (0.0, 1.0, 1000.0)] == [0, 0, 0]
