"""Every error that streamd raises on purpose.

StreamdError
├── UsageError            the command line asks for something impossible     exit 2
├── ConfigError           problems in the configuration, all at once         exit 78
├── SourceError           a camera or file
│   ├── SourceUnreachable     nothing there, or nobody answers
│   ├── SourceStalled         it went silent in mid-stream
│   ├── SourceRejected        credentials or permissions
│   ├── SourceUnsupported     not a video, or one that we cannot decode
│   └── SourceEnded           a live source that stopped delivering
├── DepthError            the network or its process
│   ├── ModelMissing          the weights are not on this machine
│   ├── WeightsRejected       the weights are not what they should be
│   └── InferenceFailed       the worker crashed, hung or was replaced
├── Busy                  there is too much of something already
├── Stopping              the daemon is about to end
├── StreamStuck           a stream that gets pictures and publishes none
├── MemoryShort           new viewers have to wait until memory is free
├── PictureError          a picture that cannot be read or made
├── EncodeError           the video encoder
└── SinkError             a viewer, a recording, a push
    ├── DiskFull
    ├── StreamGone            the stream has been removed meanwhile
    ├── OfferRejected         an SDP offer that cannot be answered
    ├── PushFailed            a server that does not take a stream, or not any more
    ├── NoWebRtc              a library has moved what keeps viewers safe
    └── ViewersFull           no place left

Each class carries data; ``str(error)`` is the one line that a person reads.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar

from streamd.states import LossReason, WorkerEnd


class StreamdError(Exception):
    """Base of all. ``exit_code`` is what a command ends with."""

    exit_code: ClassVar[int] = 1


@contextmanager
def doing(what: str) -> Iterator[None]:
    """A fault of ours that leaves the block carries what was being done, as in "reading x.mp4", for the person who
    reads of it."""
    try:
        yield
    except StreamdError:
        raise
    except Exception as error:
        error.add_note(what)
        raise


class UsageError(StreamdError):
    exit_code = 2


@dataclass(frozen=True)
class Problem:
    """One fault in a configuration: where, what was found, and why it is wrong."""

    path: str
    value: str
    reason: str

    def __str__(self) -> str:
        return f"{self.path}: {self.value}: {self.reason}" if self.value else f"{self.path}: {self.reason}"


class ConfigError(StreamdError):
    """``problems`` lists every fault found, not just the first."""

    exit_code = 78

    def __init__(self, problems: list[Problem]) -> None:
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))


class SourceError(StreamdError):
    """``source`` is the redacted name, ``reason`` a phrase, ``code`` the metric label."""

    code: ClassVar[LossReason] = LossReason.ERROR

    def __init__(self, source: str, reason: str) -> None:
        self.source, self.reason = source, reason
        super().__init__(f"{source}: {reason}")


class SourceUnreachable(SourceError):
    code = LossReason.UNREACHABLE


class SourceStalled(SourceError):
    code = LossReason.STALLED


class SourceRejected(SourceError):
    code = LossReason.REJECTED


class SourceUnsupported(SourceError):
    code = LossReason.UNSUPPORTED


class SourceEnded(SourceError):
    code = LossReason.ENDED


class DepthError(StreamdError):
    """The network or its process."""


class ModelMissing(DepthError):
    def __init__(self, model: str, hint: str) -> None:
        self.model, self.hint = model, hint
        super().__init__(f"model {model}: no weights on this machine: {hint}")


class WeightsRejected(DepthError):
    def __init__(self, file: str, reason: str) -> None:
        self.file, self.reason = file, reason
        super().__init__(f"{file}: weights refused: {reason}")


class InferenceFailed(DepthError):
    """``reason`` is the metric label."""

    def __init__(self, reason: WorkerEnd, detail: str) -> None:
        self.reason, self.detail = reason, detail
        super().__init__(f"depth worker {reason}: {detail}")


class Busy(StreamdError):
    """``reason`` says what there is too much of, and what to do."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"busy: {reason}")


class Stopping(StreamdError):
    def __init__(self) -> None:
        super().__init__("streamd is stopping: nothing can be changed any more")


class StreamStuck(StreamdError):
    """``silent_s``: for how long."""

    def __init__(self, silent_s: float) -> None:
        self.silent_s = silent_s
        super().__init__(f"its source delivers, but nothing has been published for {silent_s:.0f} s")


class MemoryShort(StreamdError):
    """``retry_after_s`` is when to try again."""

    def __init__(self, retry_after_s: int) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(f"memory is short: no new viewers for now; try again in {retry_after_s} s")


class PictureError(StreamdError):
    """A picture that cannot be read, or a format that cannot hold it."""


class EncodeError(StreamdError):
    """The video encoder refused its settings or a picture."""


class SinkError(StreamdError):
    """A viewer, a recording, a push."""


class DiskFull(SinkError):
    def __init__(self, path: str, free_bytes: int) -> None:
        self.path, self.free_bytes = path, free_bytes
        super().__init__(f"{path}: recording stopped: {free_bytes / 1e9:.1f} GB free")


class StreamGone(SinkError):
    def __init__(self) -> None:
        super().__init__("the stream has been removed")


class OfferRejected(SinkError):
    """``code`` is the API's error code: bad_offer, no_codec or no_ice_restart."""

    def __init__(self, code: str, reason: str) -> None:
        self.code, self.reason = code, reason
        super().__init__(reason)


class NoWebRtc(SinkError):
    """Viewers fall back to Motion JPEG."""

    def __init__(self) -> None:
        super().__init__("no video by WebRTC: this release of aiortc or aioice is not supported; see the log")


class PushFailed(SinkError):
    """``reason`` is a phrase without addresses; ``refused``: the server answered and did not want it, so that asking
    again soon is of no use."""

    def __init__(self, reason: str, *, refused: bool = False) -> None:
        self.reason, self.refused = reason, refused
        super().__init__(reason)


class ViewersFull(SinkError):
    def __init__(self, limit: int) -> None:
        self.limit = limit
        super().__init__(f"all {limit} viewer places are taken; try again")
