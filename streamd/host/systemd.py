"""What streamd and systemd tell each other: sd_notify(3) and sd_watchdog_enabled(3), without libsystemd.

READY=1 goes out when the first depth frame of any stream has been published. Nobody waits for what may never
come: it goes out at once when no stream is on its way any more (there is none, or each sleeps, has ended, has
failed, or has found its camera away), and START_S after the network could run, whatever is missing then. STATUS=
says what. The network's first preparation takes longer than any start should, so it asks for more time meanwhile.

WATCHDOG=1 goes out from the event loop, so a loop that hangs sends none. Nor does a daemon with a stream whose
source delivers while the network is ready and nothing has been published for SILENT_S: that is a fault of ours,
which only a new start cures. A camera that is away is none.
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
from typing import Any

from streamd.states import ModelState, StreamState

log = logging.getLogger(__name__)

START_S = 30.0
SILENT_S = 15.0
MIN_FPS = 1 / 3
"""Of a source that delivers: the pauses of a slower one look like silence."""
STATUS_S = 5.0
EXTEND_S = 30.0
"""What is asked for at a time while the network is prepared."""
_TICK_S = 0.1
"""Between looks before READY=1."""
_SEND_S = 0.2
_LONGEST_STATUS = 400


class Notifier:
    """The socket that systemd listens at. Without one nothing is sent; no fault is ever raised."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = address.replace("@", "\0", 1) if address.startswith("@") else address

    def __bool__(self) -> bool:
        return self._address.startswith(("/", "\0"))

    def tell(self, **variables: str | int) -> bool:
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
            log.debug("systemd was not told: %s", error)
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


@dataclass(frozen=True)
class StreamLook:
    """A stream at one moment."""

    name: str
    state: StreamState
    reason: str | None
    fps_in: float
    fps_out: float
    publishes: bool
    """Whether it has, in the last seconds."""
    patience_s: float
    """How long it may publish nothing while its source delivers."""

    @classmethod
    def of(cls, described: Mapping[str, Any], max_fps: float | None) -> StreamLook:
        """From what the API tells of it."""
        return cls(
            name=described["name"],
            state=described["state"],
            reason=described["reason"],
            fps_in=described["fps_in"],
            fps_out=described["fps_out"],
            publishes=described["latency_ms"]["p50"] is not None,
            patience_s=max(SILENT_S, 3 / max_fps if max_fps else 0.0),
        )


@dataclass(frozen=True)
class Look:
    """The daemon at one moment."""

    streams: Sequence[StreamLook]
    model_state: ModelState
    model: str
    """What runs, or what is wrong."""

    def status(self) -> str:
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


class _Silence:
    """Finds streams that get frames and give none."""

    def __init__(self) -> None:
        self._since: dict[str, float] = {}

    def of(self, look: Look, now: float) -> dict[str, float]:
        """How long each stream has been silent, of those that have been for too long."""
        suspects = {
            stream.name: stream
            for stream in look.streams
            if look.model_state is ModelState.READY and stream.fps_in >= MIN_FPS and not stream.publishes
        }
        self._since = {name: self._since.get(name, now) for name in suspects}
        lasted = {name: now - since for name, since in self._since.items()}
        return {name: s for name, s in lasted.items() if s >= suspects[name].patience_s}


class SystemdLink:
    """Tells systemd how the daemon is. Lives on the event loop; does nothing when systemd did not start us."""

    def __init__(self, look: Callable[[], Look], environment: Mapping[str, str] = os.environ) -> None:
        """``look`` is called on the event loop, at most ten times a second."""
        self._look = look
        self._notifier = Notifier(environment)
        self._watchdog_s = watchdog_s(environment)
        self._ready = False
        self._network_since: float | None = None
        """Since when the start has not been waiting for the network."""
        self._extended_at = -EXTEND_S
        self._status = ""
        self._silence = _Silence()
        self._silent: set[str] = set()
        self.complaint = ""
        """What the operator should know, put before the status until it is cleared."""

    async def run(self) -> None:
        """Until cancelled."""
        if not self._notifier:
            return
        while True:
            look, now = self._look(), time.monotonic()
            self._tell_status(look)  # before READY=1: who waited for it may ask at once
            if not self._ready:
                self._start(look, now)
            self._feed(look, now)
            await asyncio.sleep(self._pause_s())

    @contextmanager
    def reloading(self) -> Iterator[None]:
        """Meanwhile systemd shows the service as reloading."""
        if self._ready:
            self._notifier.tell(RELOADING=1, MONOTONIC_USEC=time.monotonic_ns() // 1000)
        try:
            yield
        finally:
            if self._ready:
                self._notifier.tell(READY=1)

    def stopping(self) -> None:
        self._ready = False
        self._notifier.tell(STOPPING=1, STATUS="stopping")

    def _pause_s(self) -> float:
        if not self._ready:
            return _TICK_S
        return min(STATUS_S, self._watchdog_s / 2) if self._watchdog_s else STATUS_S

    def _start(self, look: Look, now: float) -> None:
        """READY=1 when the rule at the top of this file says so."""
        awaited = look.awaited()
        if look.model_state is ModelState.STARTING:
            self._network_since = None
        elif self._network_since is None:
            self._network_since = now
        if awaited and self._network_since is None:
            if now - self._extended_at > EXTEND_S / 3:
                self._notifier.tell(EXTEND_TIMEOUT_USEC=int(EXTEND_S * 1e6))
                self._extended_at = now
            return
        if awaited and self._network_since is not None and now - self._network_since < START_S:
            return
        if awaited:
            log.warning("no depth yet from %s after %g s; going on without", ", ".join(awaited), START_S)
        self._ready = self._notifier.tell(READY=1)

    def _tell_status(self, look: Look) -> None:
        status = f"{self.complaint}; {look.status()}" if self.complaint else look.status()
        if status != self._status:
            self._notifier.tell(STATUS=status[:_LONGEST_STATUS])
            self._status = status

    def _feed(self, look: Look, now: float) -> None:
        silent = self._silence.of(look, now)
        for name in silent.keys() - self._silent:
            log.critical(
                "stream %s: its source delivers, but nothing has been published for %.0f s%s",
                name,
                silent[name],
                ": not feeding systemd's watchdog any more" if self._watchdog_s else "",
            )
        self._silent = set(silent)
        if self._watchdog_s and not silent:
            self._notifier.tell(WATCHDOG=1)
