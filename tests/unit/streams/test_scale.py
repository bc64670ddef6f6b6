from __future__ import annotations

import math

import pytest

from streamd.config.zones import ZoneConfig
from streamd.streams.scale import Scale

POLYGON = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0))


class Calibration:
    def metres(self, inverse_depth: float) -> float:
        return 1 / inverse_depth if inverse_depth > 0 else math.inf

    def inverse_depth(self, metres: float) -> float:
        return 1 / metres


def test_shares_are_of_the_range() -> None:
    scale = Scale(10.0, 20.0)
    assert (scale.share(10), scale.share(15), scale.metres(15)) == (0.0, 0.5, None)
    assert scale.thresholds(ZoneConfig(name="a", polygon=POLYGON, near=0.7)) == (17.0, pytest.approx(16.5))


def test_metres_are_of_the_calibration() -> None:
    scale, zone = Scale(0.0, 1.0, Calibration()), ZoneConfig(name="a", polygon=POLYGON, metres=2.0)
    assert (scale.metres(0.5), scale.metres(-1)) == (2.0, None)
    assert scale.thresholds(zone) == (0.5, pytest.approx(1 / 2.1))
    assert Scale(0.0, 1.0).thresholds(zone) is None
