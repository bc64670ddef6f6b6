"""``zones`` of a stream: areas of its picture that fire an event when something in them comes near."""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import FailFast, Field, field_validator, model_validator

from streamd.config.section import Section

MAX_ZONES = 16
"""Of a stream."""
Point = tuple[Annotated[float, Field(ge=0)], Annotated[float, Field(ge=0)]]
Polygon = Annotated[tuple[Point, ...], Field(max_length=256), FailFast()]


class ZoneConfig(Section):
    """An area, and what counts as near there."""

    name: str = Field(max_length=64)
    """What events, metrics and the page call it: letters, digits, spaces, . _ and -."""
    polygon: Polygon
    """[[x, y], ...]: shares of width and height when all are at most 1, else pixels of the source."""
    near: float | None = Field(default=None, gt=0, lt=1)
    """Near is what is beyond this share of the range of depths that the stream has shown lately; 1 is nearest."""
    metres: float | None = Field(default=None, gt=0, le=1000)
    """Near is what is closer than this, m. Needs a calibration of the stream."""
    min_area: float = Field(default=0.02, gt=0, le=1)
    """Share of the zone's area that has to be near."""
    hold_s: float = Field(default=1.0, ge=0, le=3600)
    """For how long it has to be near before that counts, and gone before that does."""

    @field_validator("name")
    @classmethod
    def _can_be_read(cls, value: str) -> str:
        if not re.fullmatch(r"[^\W_][\w .-]*", value) or not value.isprintable():
            raise ValueError("a name has letters, digits, spaces, . _ and -, and begins with a letter or digit")
        return value

    @field_validator("polygon")
    @classmethod
    def _has_an_inside(cls, value: Polygon) -> Polygon:
        if len(set(value)) < 3:
            raise ValueError("an area needs at least three different points")
        return value

    @model_validator(mode="after")
    def _one_measure(self) -> Self:
        if (self.near is None) == (self.metres is None):
            raise ValueError("takes either near (a share of the range) or metres, and one of them")
        return self
