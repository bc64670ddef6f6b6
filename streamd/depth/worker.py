"""The depth worker: a process that owns the network. Run as ``python -m streamd.depth.worker``.

It knows no streams: it takes slots of shared memory, fills in their output, and replies. It is
killed and replaced from outside when it hangs or grows, so it has no state worth saving.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import socket
import sys

from streamd.depth.protocol import (
    DONE,
    ENDPOINT,
    FAILED,
    MESSAGE_BYTES,
    PREPARING,
    READY,
    REFUSED,
    InferenceRequest,
    Reply,
    Slots,
    WorkerJob,
)
from streamd.depth.runtimes import LOCAL, module_of, not_installed
from streamd.depth.runtimes.runtime import Runtime
from streamd.errors import DepthError, WeightsRejected


def open_runtime(job: WorkerJob) -> Runtime:
    """With endpoints: of the network here. Raises WeightsRejected, DepthError; ModuleNotFoundError when its extra is
    not installed."""
    name = LOCAL if job.endpoints else module_of(job.runtime)
    runtime: Runtime = importlib.import_module(f"streamd.depth.runtimes.{name}").open_runtime(job)
    return runtime


def serve(channel: socket.socket, slots: Slots, runtime: Runtime) -> None:
    """Until the other side hangs up."""

    def reply(kind: bytes, slot: int, text: str = "") -> None:
        try:
            channel.send(Reply(kind, slot, text).pack())
        except OSError:
            os._exit(0)  # the daemon is gone

    def finish(slot: int, problem: str | None) -> None:
        reply(FAILED if problem else DONE, slot, problem or "")

    while message := _next(channel):
        slot, height, width, live, patient = InferenceRequest.unpack(message)
        if not runtime.is_compiled(height, width, live=live):
            reply(PREPARING, slot)
        try:
            runtime.submit(
                slot,
                slots.input(slot, height, width),
                slots.output(slot, height, width),
                lambda problem, slot=slot: finish(slot, problem),  # type: ignore[misc]
                live=live,
                patient=patient,
            )
        except (RuntimeError, DepthError) as error:
            finish(slot, (str(error).strip() or type(error).__name__).splitlines()[-1])


def _next(channel: socket.socket) -> bytes:
    """Empty when the other side has hung up, or was killed with answers of ours unread."""
    try:
        return channel.recv(MESSAGE_BYTES)
    except ConnectionResetError:
        return b""


def _with_endpoints(local: Runtime, job: WorkerJob, channel: socket.socket) -> Runtime:
    """Raises DepthError."""
    from streamd.depth.remote.runtime import RemoteRuntime

    def report(number: int, reason: str) -> None:
        channel.send(Reply(ENDPOINT, number, reason).pack())

    return RemoteRuntime(job, local, json.loads(channel.recv(MESSAGE_BYTES)), report)


def main() -> None:
    for number in (signal.SIGINT, signal.SIGTERM):  # Ctrl-C and systemd's stop reach us too:
        signal.signal(number, signal.SIG_IGN)  # they are for the parent, which then hangs up
    job = WorkerJob.from_json(sys.argv[1])
    channel = socket.socket(fileno=int(sys.argv[2]))
    slots = Slots(int(sys.argv[3]), job.slots, job.max_pixels)
    try:
        runtime = open_runtime(job)
        if job.endpoints:
            runtime = _with_endpoints(runtime, job, channel)
    except WeightsRejected as error:
        channel.send(Reply(REFUSED, 0, error.reason).pack())
        sys.exit(1)
    except DepthError as error:
        channel.send(Reply(FAILED, 0, str(error)).pack())
        sys.exit(1)
    except ModuleNotFoundError as error:
        channel.send(Reply(FAILED, 0, str(not_installed(job.runtime, str(error.name)))).pack())
        sys.exit(1)
    except Exception as error:
        channel.send(Reply(FAILED, 0, f"{type(error).__name__}: {str(error).strip()[:500]}").pack())
        sys.exit(1)
    channel.send(Reply(READY, 0, json.dumps({"precision": runtime.precision})).pack())
    serve(channel, slots, runtime)
    # Not sys.exit: OpenVINO's threads may be in a callback, and nothing here needs saving.
    os._exit(0)


if __name__ == "__main__":
    main()
