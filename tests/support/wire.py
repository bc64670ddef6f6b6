"""A bad line: two network namespaces of our own, and all that passes between them.

Each has a TUN device, and a thread here is the wire between the two: it holds packets back, loses some, lets only
so many through. So no netem is needed, which many kernels lack. Needs root.
"""

from __future__ import annotations

import ctypes
import fcntl
import heapq
import itertools
import os
import random
import select
import socket
import struct
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest

T = TypeVar("T")

_TUN = Path("/dev/net/tun")
_TUNSETIFF, _IFF_TUN, _IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
_CLONE_NEWNET = 0x40000000
_UDP = 17
_MTU = 1500
QUEUE_S = 0.2
"""What waits where the line is narrow, as in a home router; more is lost."""

needs_namespaces = pytest.mark.skipif(
    os.geteuid() != 0 or not _TUN.exists(),
    reason="NO BAD LINE IS TESTED: that needs root and /dev/net/tun",
)


@dataclass(frozen=True)
class Place:
    """A network namespace and its address."""

    name: str
    address: str

    @property
    def within(self) -> tuple[str, ...]:
        """In front of a command, runs it there."""
        return ("ip", "netns", "exec", self.name)

    def run(self, what: Callable[[], T]) -> T:
        """In a thread that is there. Sockets that it opens stay there."""

        def there() -> T:
            with open(f"/run/netns/{self.name}") as namespace:
                if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), _CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), f"cannot enter {self.name}")
            return what()

        with ThreadPoolExecutor(1, thread_name_prefix=self.name) as pool:
            return pool.submit(there).result()

    def listen(self) -> socket.socket:
        """On a free port."""
        return self.run(lambda: socket.create_server((self.address, 0)))


class Wire:
    """Change the fields at any time. They hold for both directions, but for ``down_kbps``."""

    def __init__(self, box: Place, viewer: Place, *, seed: int = 0) -> None:
        self.box, self.viewer = box, viewer
        self.delay_s = 0.0
        self.loss = 0.0
        """Share of the packets."""
        self.down_kbps: float | None = None
        """How much passes from the box to the viewer."""
        self.carries_udp = True
        self.passed: Counter[str] = Counter()
        """Packets by what became of them: delivered, lost, overflow, blocked."""
        self._random = random.Random(seed)
        self._queue: list[tuple[float, int, int, bytes]] = []
        """(when due, a number, where to, the packet)"""
        self._numbers = itertools.count()
        self._narrow_free_at = 0.0
        self._ends = (_tun(box), _tun(viewer))
        self._wake, self._waker = os.pipe()
        self._thread = threading.Thread(target=self._run, name="wire")
        self._thread.start()

    def close(self) -> None:
        os.close(self._waker)
        self._thread.join()
        for descriptor in (*self._ends, self._wake):
            os.close(descriptor)

    def _run(self) -> None:
        box, viewer = self._ends
        while True:
            patience_s = max(0.0, self._queue[0][0] - time.monotonic()) if self._queue else None
            ready, _, _ = select.select([self._wake, box, viewer], [], [], patience_s)
            if self._wake in ready:
                return
            for source, target in ((box, viewer), (viewer, box)):
                if source in ready:
                    self._take(os.read(source, _MTU), target)
            while self._queue and self._queue[0][0] <= time.monotonic():
                _, _, target, packet = heapq.heappop(self._queue)
                os.write(target, packet)
                self.passed["delivered"] += 1

    def _take(self, packet: bytes, target: int) -> None:
        if not self.carries_udp and packet[9] == _UDP:
            self.passed["blocked"] += 1
        elif self._random.random() < self.loss:
            self.passed["lost"] += 1
        else:
            now = time.monotonic()
            leaves_at = self._narrow(now, len(packet)) if target == self._ends[1] and self.down_kbps else now
            if leaves_at - now > QUEUE_S:
                self.passed["overflow"] += 1
            else:
                due = leaves_at + self.delay_s
                heapq.heappush(self._queue, (due, next(self._numbers), target, packet))

    def _narrow(self, now: float, size: int) -> float:
        """When a packet has gone through the narrow part."""
        assert self.down_kbps is not None
        leaves_at = max(now, self._narrow_free_at) + 8 * size / (1000 * self.down_kbps)
        if leaves_at - now <= QUEUE_S:
            self._narrow_free_at = leaves_at
        return leaves_at


def _tun(place: Place) -> int:
    """The wire's end of a device in that namespace."""
    descriptor = os.open(_TUN, os.O_RDWR)
    name = place.name[-15:]
    fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH", name.encode(), _IFF_TUN | _IFF_NO_PI))
    _ip("link", "set", name, "netns", place.name)
    inside = ("-n", place.name)
    _ip(*inside, "address", "add", f"{place.address}/24", "dev", name)
    _ip(*inside, "link", "set", name, "mtu", str(_MTU), "up")
    _ip(*inside, "link", "set", "lo", "up")
    return descriptor


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, timeout=10)


@contextmanager
def wire() -> Iterator[Wire]:
    """streamd's end is ``box``. Nothing in either may outlive the context."""
    number = os.getpid()
    places = Place(f"streamd-b{number}", "10.213.7.1"), Place(f"streamd-v{number}", "10.213.7.2")
    made = []
    try:
        for place in places:
            _ip("netns", "add", place.name)
            made.append(place)
        line = Wire(*places)
        try:
            yield line
        finally:
            line.close()
    finally:
        for place in made:
            _ip("netns", "delete", place.name)
