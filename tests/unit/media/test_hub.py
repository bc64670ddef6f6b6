"""PacketHub and Subscription: who gets which packet, and what happens to the slow."""

from __future__ import annotations

import asyncio
import threading

import pytest

from streamd.errors import StreamGone
from streamd.media.frames import EncodedPacket
from streamd.media.hub import PacketHub, Subscription
from tests.support.waiting import wait_for

pytestmark = pytest.mark.timeout(10)


def packet(number: int, *, key: bool = False) -> EncodedPacket:
    return EncodedPacket(data=b"x", pts=number, is_keyframe=key, captured_at=0.0)


class Bench:
    """A hub that notes what is asked of it, and one seat at it."""

    def __init__(self, capacity: int = 4) -> None:
        self.requests: list[str] = []
        self.dropped = 0
        self.hub = PacketHub(asyncio.get_running_loop(), self.requests.append)
        self.seat = self.subscribe(capacity)

    def _drop(self, count: int) -> None:
        self.dropped += count

    def subscribe(self, capacity: int = 4) -> Subscription:
        return Subscription(self.hub, capacity=capacity, on_drop=self._drop)

    async def publish(self, *packets: EncodedPacket) -> None:
        """Returns when the hub has handed them out."""
        self.hub.publish_threadsafe(list(packets))
        await asyncio.sleep(0)

    async def start(self) -> asyncio.Task[EncodedPacket | None]:
        """A reader that waits in ``get``."""
        reading = asyncio.create_task(self.seat.get())
        await asyncio.sleep(0)
        return reading


async def numbers(seat: Subscription, count: int) -> list[int]:
    packets = [await wait_for(seat.get(), 1) for _ in range(count)]
    return [p.pts for p in packets if p is not None]


async def test_it_starts_at_a_keyframe() -> None:
    bench = Bench()
    await bench.publish(packet(1), packet(2), packet(3, key=True), packet(4))
    assert await numbers(bench.seat, 2) == [3, 4]
    assert bench.dropped == 0


async def test_joining_asks_for_a_keyframe_and_shows_that_somebody_watches() -> None:
    bench = Bench()
    assert bench.requests == ["join"]
    assert (bench.hub.watched, len(bench.hub)) == (True, 1)
    bench.seat.close()
    assert (bench.hub.watched, len(bench.hub)) == (False, 0)


async def test_all_who_join_a_still_scene_begin_with_the_same_keyframe() -> None:
    bench = Bench()
    await bench.publish(packet(1, key=True))
    others = [bench.subscribe() for _ in range(8)]
    assert bench.requests == ["join"], "for the first of them"
    assert [await numbers(seat, 1) for seat in others] == 8 * [[1]]
    await bench.publish(packet(2))
    assert [await numbers(seat, 1) for seat in others] == 8 * [[2]]
    bench.subscribe()
    assert bench.requests == ["join", "join"], "now there is something newer"


async def test_a_keyframe_of_before_is_for_nobody() -> None:
    bench = Bench()
    await bench.publish(packet(1, key=True))
    bench.seat.close()
    bench.subscribe().close()
    await bench.publish(packet(2, key=True))
    later = bench.subscribe()
    assert bench.requests == ["join"] * 3
    await bench.publish(packet(3, key=True))
    assert await numbers(later, 1) == [3]


async def test_a_keyframe_that_was_to_be_forgotten_is_for_nobody() -> None:
    """Of other settings: what a new mask covers may be in it."""
    bench = Bench()
    await bench.publish(packet(1, key=True))
    bench.hub.forget_keyframe()
    later = bench.subscribe()
    await bench.publish(packet(2, key=True))
    assert await numbers(later, 1) == [2]


async def test_who_comes_from_another_hub_begins_with_the_next_keyframe() -> None:
    """Times would go back else."""
    bench, other = Bench(), Bench()
    await other.publish(packet(1, key=True))
    await bench.publish(packet(2, key=True))
    assert await numbers(bench.seat, 1) == [2]
    bench.seat.move(other.hub)
    await other.publish(packet(3, key=True))
    assert await numbers(bench.seat, 1) == [3]


async def test_everybody_gets_the_same_packet_in_the_same_order() -> None:
    bench = Bench(capacity=10)
    seats = [bench.seat, *(bench.subscribe(10) for _ in range(3))]
    sent = [packet(i, key=i == 0) for i in range(10)]
    await bench.publish(*sent)
    for seat in seats:
        assert all([await seat.get() is p for p in sent])


async def test_before_anybody_reads_only_the_newest_gop_is_kept() -> None:
    bench = Bench(capacity=10)
    await bench.publish(*(packet(i, key=i in (0, 5)) for i in range(8)))
    assert await numbers(bench.seat, 3) == [5, 6, 7]
    assert bench.dropped == 0


async def test_overflow_drops_to_the_next_keyframe_and_counts() -> None:
    bench = Bench(capacity=4)
    reading = await bench.start()
    await bench.publish(*(packet(i, key=i == 0) for i in range(5)))
    assert bench.dropped == 5  # the four that waited and the one that found no room
    assert bench.requests[-1] == "overflow"
    await bench.publish(packet(5), packet(6, key=True), packet(7))
    first = await reading
    assert first is not None
    assert [first.pts, *await numbers(bench.seat, 1)] == [6, 7]


async def test_overflow_at_a_keyframe_goes_on_with_it() -> None:
    bench = Bench(capacity=4)
    reading = await bench.start()
    asked = len(bench.requests)
    await bench.publish(*(packet(i, key=i in (0, 4)) for i in range(5)))
    first = await reading
    assert first is not None
    assert first.pts == 4
    assert (bench.dropped, len(bench.requests)) == (4, asked)


async def test_who_is_stuck_in_connecting_asks_no_more() -> None:
    bench = Bench(capacity=2)
    await bench.publish(*(packet(i, key=i == 0) for i in range(50)))
    assert bench.requests == ["join"]


async def test_who_overflowed_while_connecting_asks_when_it_starts_to_read() -> None:
    """Else it would show nothing until the next keyframe of its own accord."""
    bench = Bench(capacity=2)
    await bench.publish(*(packet(i, key=i == 0) for i in range(5)))
    reading = await bench.start()
    assert bench.requests == ["join", "join"]
    await bench.publish(packet(9, key=True))
    got = await reading
    assert got is not None
    assert got.pts == 9


async def test_a_subscription_never_holds_more_than_its_capacity() -> None:
    bench = Bench(capacity=4)
    for i in range(1000):
        await bench.publish(packet(i, key=i % 7 == 0))
        assert len(bench.seat._queue) <= 4


async def test_close_ends_get() -> None:
    bench = Bench()
    reading = await bench.start()
    bench.seat.close()
    assert await wait_for(reading, 1) is None
    bench.seat.close()
    assert await bench.seat.get() is None


async def test_close_forgets_what_waits() -> None:
    bench = Bench()
    await bench.publish(packet(1, key=True))
    bench.seat.close()
    await bench.publish(packet(2, key=True))
    assert await bench.seat.get() is None


async def test_packets_come_from_another_thread() -> None:
    bench = Bench()
    reading = await bench.start()
    thread = threading.Thread(target=bench.hub.publish_threadsafe, args=([packet(1, key=True)],))
    thread.start()
    got = await wait_for(reading, 1)
    thread.join()
    assert got is not None
    assert got.pts == 1


def test_publishing_after_the_loop_has_closed_goes_nowhere() -> None:
    loop = asyncio.new_event_loop()
    hub = PacketHub(loop, lambda reason: None)
    loop.close()
    hub.publish_threadsafe([packet(1, key=True)])


async def test_nobody_joins_a_hub_that_has_closed() -> None:
    bench = Bench()
    bench.hub.close()
    assert bench.seat.closed
    with pytest.raises(StreamGone):
        bench.subscribe()
    assert len(bench.hub) == 0


async def test_who_moves_to_a_hub_that_has_closed_is_at_its_end() -> None:
    bench = Bench()
    gone = PacketHub(asyncio.get_running_loop(), bench.requests.append)
    gone.close()
    bench.seat.move(gone)
    assert bench.seat.closed
    assert await asyncio.wait_for(bench.seat.get(), 1) is None
    assert len(bench.hub) == 0
