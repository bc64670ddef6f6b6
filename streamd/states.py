"""The states of a stream and the reasons that metrics, API, logs and page show, each defined once."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class StreamState(StrEnum):
    """Where a stream is in its life."""

    STARTING = "starting"
    RUNNING = "running"
    RECONNECTING = "reconnecting"
    IDLE = "idle"
    ENDED = "ended"
    FAILED = "failed"
    STOPPING = "stopping"

    def may_become(self, state: StreamState) -> bool:
        """Whether this transition is legal. A state may always be entered again, with another reason."""
        return state is self or state in _TRANSITIONS[self]


_ALIVE = frozenset(StreamState)
_RESTARTS = frozenset({StreamState.STARTING, StreamState.IDLE, StreamState.FAILED, StreamState.STOPPING})
_TRANSITIONS: Mapping[StreamState, frozenset[StreamState]] = MappingProxyType(
    {
        StreamState.STARTING: _ALIVE,
        StreamState.RUNNING: _ALIVE,
        StreamState.RECONNECTING: _ALIVE,
        # What does not play can only begin again, fail, or stop.
        StreamState.IDLE: _RESTARTS,
        StreamState.ENDED: _RESTARTS,
        StreamState.FAILED: _RESTARTS,
        StreamState.STOPPING: frozenset(),
    }
)


class Origin(StrEnum):
    """Who added a stream."""

    FILE = "file"
    """The configuration file or the command line."""
    API = "api"


class Change(StrEnum):
    """What a picture is to the one that was inferred before."""

    CHANGED = "changed"
    DUE = "due"
    """Nothing has changed, but it is time to infer again."""
    FAINT = "faint"
    """Too little to infer again, and yet to be seen in the picture: a clock in small print."""
    NONE = "none"

    @property
    def reuses_depth(self) -> bool:
        return self in (Change.FAINT, Change.NONE)


class SkipReason(StrEnum):
    """Why a frame was left out."""

    SUPERSEDED = "superseded"
    """A newer one came before the network had time for it."""
    OVERFLOW = "overflow"
    """Its depth was ready before the one before was published."""
    LATE = "late"
    """Decoding does not keep up."""
    MAX_FPS = "max_fps"
    CORRUPT = "corrupt"
    ERROR = "error"
    """The network failed."""
    DISK = "disk"
    """The recorder's disk does not keep up."""


class PushState(StrEnum):
    """How a target of ``push`` is."""

    CONNECTING = "connecting"
    UP = "up"
    WAITING = "waiting"
    """It failed, and is tried again soon."""


class LossReason(StrEnum):
    """Why a source was lost, and opened again."""

    UNREACHABLE = "unreachable"
    STALLED = "stalled"
    REJECTED = "rejected"
    UNSUPPORTED = "unsupported"
    ENDED = "ended"
    STUCK = "stuck"
    """It delivered, but nothing was published."""
    ERROR = "error"
    """A fault of streamd's own, among others."""


class KeyframeReason(StrEnum):
    """Why a keyframe was asked for."""

    JOIN = "join"
    PLI = "pli"
    """A viewer has lost its picture (RFC 4585)."""
    OVERFLOW = "overflow"
    SEGMENT = "segment"


class WorkerEnd(StrEnum):
    """Why an inference, or its worker process, failed."""

    CRASHED = "crashed"
    DEADLINE = "deadline"
    MEMORY = "memory"
    START = "start"
    STOPPED = "stopped"
    """On purpose: no failure of the worker, and not counted as a restart."""
    CHANGED = "changed"
    """Another model runs now."""
    ERROR = "error"


class ModelState(StrEnum):
    """How the depth service is."""

    STARTING = "starting"
    READY = "ready"
    FAILED = "failed"
    IDLE = "idle"
    """No network is needed now; one starts on demand."""
