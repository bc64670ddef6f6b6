"""Places for connections; what happens on the network is tests/integration/test_web_connections.py."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from streamd.web.connections import RESERVED, PlacedSocket, Places

HERE = "127.0.0.1"


def take_all(places: Places, *addresses: str) -> list[Callable[[], None]]:
    """In turn, until there is none left."""
    taken = []
    while True:
        found = [give_back for give_back in (places.take(address) for address in addresses) if give_back]
        taken += found
        if not found:
            return taken


def test_this_machine_may_have_all() -> None:
    places = Places(512)
    assert len(take_all(places, HERE)) == 512
    assert places.take(HERE) is None
    assert places.take("192.0.2.1") is None


@pytest.mark.parametrize("others", [["192.0.2.1"], ["2001:db8::1", "2001:db8::2", "2001:db8::3"]])
def test_one_address_may_have_half(others: list[str]) -> None:
    places = Places(512)
    assert len(take_all(places, *others)) == 256
    assert places.take("192.0.2.2") is not None


def test_the_last_are_for_this_machine() -> None:
    places = Places(512)
    many = [f"192.0.2.{number}" for number in range(10)]
    assert len(take_all(places, *many)) == 512 - RESERVED
    assert len(take_all(places, "::1")) == RESERVED


@pytest.mark.parametrize("maximum", [16, 17, 512])
def test_somebody_else_can_always_come_in(maximum: int) -> None:
    places = Places(maximum)
    assert take_all(places, "192.0.2.1")
    assert places.take("192.0.2.2") is not None


def test_a_place_is_given_back_once() -> None:
    places = Places(16)
    first, *rest = take_all(places, HERE)
    first()
    first()
    assert places.taken == 15
    assert len(take_all(places, HERE)) == 1
    for give_back in rest:
        give_back()


def test_a_socket_holds_its_place_until_it_is_closed() -> None:
    places = Places(16)
    ours, theirs = socket.socketpair()
    give_back = places.take(HERE)
    assert give_back is not None
    with theirs, PlacedSocket(ours, give_back) as placed:
        assert places.taken == 1
        placed.close()
        assert places.taken == 0
        assert theirs.recv(1) == b""
    assert places.taken == 0
