"""One picture, with a network that the test plays."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from streamd.depth.estimator import ModelInfo
from streamd.errors import InferenceFailed, WeightsRejected
from streamd.jobs.picture import depth_of_picture
from tests.support.played import INFO, PlayedService

PICTURE = cv2.imencode(".png", np.arange(64 * 48 * 3, dtype=np.uint8).reshape(48, 64, 3))[1].tobytes()


def depth(service: PlayedService) -> bytes:
    return bytes(depth_of_picture(PICTURE, service, "depth", "png"))  # type: ignore[arg-type]


def test_a_change_of_network_at_this_moment_fails_no_picture() -> None:
    service, other = PlayedService(), replace(INFO, sha256="cd")

    def wait_ready(timeout_s: float | None = None) -> ModelInfo:
        before, service.info = service.info, other
        return before or other

    service.wait_ready = wait_ready  # type: ignore[method-assign]
    assert depth(service)


def test_a_worker_that_is_lost_once_fails_no_picture() -> None:
    service = PlayedService()
    service.lost = [1]
    assert depth(service)


def test_a_picture_that_kills_worker_after_worker_is_given_up() -> None:
    service = PlayedService()
    service.lost = [1] * 10
    with pytest.raises(InferenceFailed):
        depth(service)
    assert len(service.waiting) <= 3


def test_what_keeps_the_network_away_is_reported() -> None:
    service = PlayedService(info=None)
    service.failure = WeightsRejected("a.pt", "cut short")
    with pytest.raises(WeightsRejected):
        depth(service)
