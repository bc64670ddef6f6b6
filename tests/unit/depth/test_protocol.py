from __future__ import annotations

import os

import numpy as np
import pytest

from streamd.depth.protocol import DONE, FAILED, MESSAGE_BYTES, InferenceRequest, Reply, Slots, WorkerJob


def test_a_job_survives_the_command_line() -> None:
    job = WorkerJob(
        "embedded",
        "openvino",
        "fp32",
        "/a b/'x'.pt",
        "ab12",
        "/ü",
        2,
        1,
        4,
        32,
        256,
        65536,
        endpoints=("http://a", "grpc://b"),
    )
    assert WorkerJob.from_json(job.to_json()) == job


@pytest.mark.parametrize("request_", [InferenceRequest(0, 128, 256), InferenceRequest(7, 100_000, 32)])
def test_requests_survive_the_socket(request_: InferenceRequest) -> None:
    assert InferenceRequest.unpack(request_.pack()) == request_


@pytest.mark.parametrize("reply", [Reply(DONE, 3), Reply(FAILED, 9, "it broke: ü")])
def test_replies_survive_the_socket(reply: Reply) -> None:
    assert Reply.unpack(reply.pack()) == reply


def test_a_long_reply_is_cut_and_still_readable() -> None:
    packed = Reply(FAILED, 1, "ü" * 10_000).pack()
    assert len(packed) == MESSAGE_BYTES
    assert Reply.unpack(packed).text.startswith("üüü")


def test_slots_do_not_overlap_and_both_sides_see_them() -> None:
    """Two mappings of one memfd, as two processes have."""
    memfd = os.memfd_create("test")
    os.ftruncate(memfd, Slots.size_bytes(3, 64 * 64))
    ours, theirs = Slots(memfd, 3, 64 * 64), Slots(memfd, 3, 64 * 64)
    os.close(memfd)
    sizes = [(64, 64), (32, 64), (64, 32)]
    for slot, (height, width) in enumerate(sizes):
        ours.input(slot, height, width)[:] = slot
        ours.output(slot, height, width)[:] = 100 + slot
    for slot, (height, width) in enumerate(sizes):
        planes, depth = theirs.input(slot, height, width), theirs.output(slot, height, width)
        assert (planes.shape, depth.shape) == ((1, 3, height, width), (1, height, width))
        assert (planes.dtype, depth.dtype) == (np.float32, np.float32)
        assert (planes == slot).all()
        assert (depth == 100 + slot).all()
