"""Tokens, sessions and the limit on wrong guesses, with a clock that the test turns."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable

import pytest

from streamd.web import tokens
from streamd.web.tokens import FAILURE_S, FAILURES, SESSION_S, Failures, Scope, Sessions, Tokens


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.mark.parametrize(
    ("view", "control", "view_scope", "control_scope"),
    [
        ((), (), None, None),
        (("v",), (), Scope.VIEW, None),
        ((), ("c",), None, Scope.CONTROL),
        (("v",), ("c",), Scope.VIEW, Scope.CONTROL),
        (("v", "c"), ("c",), Scope.VIEW, Scope.CONTROL),
    ],
)
def test_what_a_token_may(
    view: tuple[str, ...], control: tuple[str, ...], view_scope: Scope | None, control_scope: Scope | None
) -> None:
    known = Tokens(view, control)
    assert (known.scope("v"), known.scope("c"), known.scope("")) == (view_scope, control_scope, None)
    assert known.configured == bool(view or control)


def test_every_token_is_compared_whichever_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[bytes] = []
    same: Callable[[bytes, bytes], bool] = hmac.compare_digest

    def noted(a: bytes, b: bytes) -> bool:
        compared.append(a)
        return same(a, b)

    monkeypatch.setattr(hmac, "compare_digest", noted)
    known = Tokens(("one", "two"), ("three",))
    for token in ("one", "three", "none", "\udcff"):
        compared.clear()
        known.scope(token)
        assert len(compared) == 3


class TestSessions:
    def test_an_id_stands_for_its_scope_until_it_is_closed(self, clock: Clock) -> None:
        sessions = Sessions(clock)
        one, other = sessions.open(Scope.VIEW), sessions.open(Scope.CONTROL)
        assert (sessions.scope(one), sessions.scope(other)) == (Scope.VIEW, Scope.CONTROL)
        sessions.close(one)
        sessions.close(one)
        assert (sessions.scope(one), sessions.scope(other)) == (None, Scope.CONTROL)
        assert sessions.scope("") is None
        assert len(sessions) == 1

    def test_it_expires_when_it_is_not_used(self, clock: Clock) -> None:
        sessions = Sessions(clock)
        id = sessions.open(Scope.VIEW)
        for _ in range(3):
            clock.now += SESSION_S - 1
            assert sessions.scope(id) == Scope.VIEW
        clock.now += SESSION_S
        assert sessions.scope(id) is None
        assert len(sessions) == 0

    def test_the_one_not_used_for_longest_goes_first(self, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tokens, "MAX_SESSIONS", 2)
        sessions = Sessions(clock)
        first, second = sessions.open(Scope.VIEW), sessions.open(Scope.VIEW)
        sessions.scope(first)
        sessions.open(Scope.VIEW)
        assert (sessions.scope(first), sessions.scope(second)) == (Scope.VIEW, None)

    def test_ids_are_not_kept(self) -> None:
        sessions = Sessions()
        id = sessions.open(Scope.VIEW)
        assert len(id) >= 43, "256 bits"
        assert id not in repr(sessions._sessions)


class TestFailures:
    def test_a_few_are_forgiven_then_each_takes_its_time(self, clock: Clock) -> None:
        failures = Failures(clock)
        for _ in range(FAILURES):
            assert failures.wait_s("192.0.2.1") == 0
            failures.note("192.0.2.1")
        assert failures.wait_s("192.0.2.1") == pytest.approx(FAILURE_S)
        assert failures.wait_s("192.0.2.2") == 0, "others are not concerned"
        clock.now += FAILURE_S
        assert failures.wait_s("192.0.2.1") == 0
        failures.note("192.0.2.1")
        assert failures.wait_s("192.0.2.1") > 0
        clock.now += FAILURES * FAILURE_S
        for _ in range(FAILURES):
            assert failures.wait_s("192.0.2.1") == 0
            failures.note("192.0.2.1")

    @pytest.mark.parametrize(
        ("one", "other", "same"),
        [
            ("2001:db8::1", "2001:db8::ffff:1", True),
            ("2001:db8::1", "2001:db8:0:1::1", False),
            ("fe80::1%eth0", "fe80::2%eth1", True),
            ("::ffff:192.0.2.1", "192.0.2.1", True),
            (None, "", True),
        ],
    )
    def test_what_counts_as_one(self, clock: Clock, one: str | None, other: str | None, same: bool) -> None:
        failures = Failures(clock)
        for _ in range(FAILURES):
            failures.note(one)
        assert (failures.wait_s(other) > 0) == same

    def test_the_table_is_bounded(self, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(tokens, "MAX_ADDRESSES", 10)
        failures = Failures(clock)
        for number in range(100):
            failures.note(f"192.0.2.{number}")
        assert len(failures) == 10


def test_a_token_may_be_configured_by_its_digest() -> None:
    digest = hashlib.sha256(b"long enough").hexdigest()
    tokens = Tokens([f"sha256:{digest}"])
    assert tokens.scope("long enough") is not None
    assert tokens.scope(f"sha256:{digest}") is None, "who reads the file does not know the token"
    assert tokens.scope(digest) is None
