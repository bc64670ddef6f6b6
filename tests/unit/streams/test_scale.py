from __future__ import annotations

import pytest

from streamd.config.zones import ZoneConfig
from streamd.depth.calibration import Calibration
from streamd.streams.scale import Scale

POLYGON = ((0.0, 0.0), (1.0, 0.0), (1.0, 1.0))


INVERSE = Calibration(1.0, 0.0, 0.01, ())
"""1 / metres = p."""


def test_shares_are_of_the_range() -> None:
    scale = Scale(10.0, 20.0)
    assert (scale.share(10), scale.share(15), scale.metres(15)) == (0.0, 0.5, None)
    assert scale.thresholds(ZoneConfig(name="a", polygon=POLYGON, near=0.7)) == (17.0, pytest.approx(16.5))


def test_metres_are_of_the_calibration() -> None:
    scale, zone = Scale(0.0, 1.0, INVERSE), ZoneConfig(name="a", polygon=POLYGON, metres=2.0)
    assert (scale.metres(0.5), scale.metres(-1)) == (2.0, None)
    assert scale.thresholds(zone) == (0.5, pytest.approx(1 / 2.1))
    assert Scale(0.0, 1.0).thresholds(zone) is None
