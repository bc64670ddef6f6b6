"""streamd as a service of systemd: sd_notify(3) and sd_watchdog_enabled(3), without libsystemd.

READY=1 goes out when the first depth frame of any stream has been published. Nobody waits for what may never
come: it goes out at once when no stream is on its way any more (there is none, or each sleeps, has ended, has
failed, or has found its camera away), and START_S after the network could run in any case. STATUS= names what is
missing. The network's first preparation takes longer than any start should, so it asks for more time meanwhile.

WATCHDOG=1 goes out from the event loop, so a loop that hangs sends none. Nor does a daemon that is stuck as a whole:
streams get pictures, none publishes any, and starting them anew has not helped. One stream that is stuck beside
others that publish is started anew by itself, and a camera that is away is no fault of the daemon.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from streamd.states import ModelState, StreamState

log = logging.getLogger(__name__)

START_S = 30.0
STATUS_S = 5.0
EXTEND_S = 30.0
"""What is asked for at a time while the network is prepared."""
_TICK_S = 0.1
"""Between two checks before READY=1."""
_SEND_S = 0.2
_MAX_STATUS = 400


class Notifier:
    """The socket that systemd listens at. Without one nothing is sent; no error is ever raised."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = address.replace("@", "\0", 1) if address.startswith("@") else address

    def __bool__(self) -> bool:
        return self._address.startswith(("/", "\0"))

    def notify(self, **variables: str | int) -> bool:
        """Whether it was sent."""
        if not self:
            return False
        lines = (f"{name}={' '.join(str(value).split())}" for name, value in variables.items())
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                channel.settimeout(_SEND_S)
                channel.connect(self._address)
                channel.sendall("\n".join(lines).encode())
        except OSError as error:
            log.debug("systemd was not notified: %s", error)
            return False
        return True


def watchdog_s(environment: Mapping[str, str] = os.environ) -> float | None:
    """How long systemd waits between two pings of this process; None when it expects none."""
    try:
        interval_s = int(environment.get("WATCHDOG_USEC", "0")) / 1e6
        is_ours = int(environment.get("WATCHDOG_PID", os.getpid())) == os.getpid()
    except ValueError:
        return None
    return interval_s if is_ours and interval_s > 0 else None


class StreamReport(Protocol):
    """What is of interest here of a stream at one moment."""

    @property
    def name(self) -> str: ...

    @property
    def state(self) -> StreamState: ...

    @property
    def reason(self) -> str | None: ...

    @property
    def fps_out(self) -> float: ...

    @property
    def publishes(self) -> bool:
        """Whether it has, in the last seconds."""


@dataclass(frozen=True)
class DaemonStatus:
    """The daemon at one moment."""

    streams: Sequence[StreamReport]
    stuck: bool
    """Streams get pictures, none publishes any, and starting them anew has not helped."""
    model_state: ModelState
    model: str
    """What runs, or what is wrong."""

    def summary(self) -> str:
        """As in "3 streams: 2 running, 1 reconnecting; 41 fps; model midas_small bf16"."""
        count = len(self.streams)
        states = Counter(stream.state for stream in self.streams)
        parts = [f"{count} stream{'s' * (count != 1)}"]
        if states:
            parts[0] += ": " + ", ".join(f"{number} {state}" for state, number in states.most_common())
        parts += [f"{sum(stream.fps_out for stream in self.streams):.0f} fps", f"model {self.model}"]
        parts += [f"{stream.name}: {stream.reason}" for stream in self.streams if stream.reason]
        return "; ".join(parts)

    def awaited(self) -> list[str]:
        """The streams that are on their way to their first frame; none once one has got there."""
        if any(stream.state is StreamState.RUNNING and stream.publishes for stream in self.streams):
            return []
        return [stream.name for stream in self.streams if stream.state in (StreamState.STARTING, StreamState.RUNNING)]


class SystemdLink:
    """Reports to systemd how the daemon is. Lives on the event loop; does nothing when systemd did not start us."""

    def __init__(self, status: Callable[[], DaemonStatus], environment: Mapping[str, str] = os.environ) -> None:
        """``status`` is called on the event loop, at most ten times a second."""
        self._status = status
        self._notifier = Notifier(environment)
        self._watchdog_s = watchdog_s(environment)
        self._ready = False
        self._network_since: float | None = None
        """Since when the start has not been waiting for the network."""
        self._extended_at = -EXTEND_S
        self._summary = ""
        """The newest that was sent."""
        self._was_stuck = False
        self.warning = ""
        """What the operator should know, put before the status until it is cleared."""

    async def run(self) -> None:
        """Until cancelled."""
        if not self._notifier:
            return
        while True:
            status, now = self._status(), time.monotonic()
            self._send_summary(status)  # before READY=1: a program that waits for it may ask at once
            if not self._ready:
                self._start(status, now)
            self._feed_watchdog(status)
            await asyncio.sleep(self._pause_s())

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """Meanwhile systemd shows the service as reloading."""
        if self._ready:
            self._notifier.notify(RELOADING=1, MONOTONIC_USEC=time.monotonic_ns() // 1000)
        try:
            yield
        finally:
            if self._ready:
                self._notifier.notify(READY=1)

    def stopping(self) -> None:
        self._ready = False
        self._notifier.notify(STOPPING=1, STATUS="stopping")

    def _pause_s(self) -> float:
        if not self._ready:
            return _TICK_S
        return min(STATUS_S, self._watchdog_s / 2) if self._watchdog_s else STATUS_S

    def _start(self, status: DaemonStatus, now: float) -> None:
        """READY=1 by the rule at the top of this file."""
        awaited = status.awaited()
        if status.model_state is ModelState.STARTING:
            self._network_since = None
        elif self._network_since is None:
            self._network_since = now
        if awaited and self._network_since is None:
            if now - self._extended_at > EXTEND_S / 3:
                self._notifier.notify(EXTEND_TIMEOUT_USEC=int(EXTEND_S * 1e6))
                self._extended_at = now
            return
        if awaited and self._network_since is not None and now - self._network_since < START_S:
            return
        if awaited:
            log.warning("no depth yet from %s after %g s; going on without", ", ".join(awaited), START_S)
        self._ready = self._notifier.notify(READY=1)

    def _send_summary(self, status: DaemonStatus) -> None:
        summary = f"{self.warning}; {status.summary()}" if self.warning else status.summary()
        if summary != self._summary:
            self._notifier.notify(STATUS=summary[:_MAX_STATUS])
            self._summary = summary

    def _feed_watchdog(self, status: DaemonStatus) -> None:
        if self._watchdog_s and status.stuck and not self._was_stuck:
            log.critical("no stream publishes what it gets, and starting anew has not helped: not feeding the watchdog")
        self._was_stuck = status.stuck
        if self._watchdog_s and not status.stuck:
            self._notifier.notify(WATCHDOG=1)
