"""Where robots get depth from: a ROS 2 domain, Foxglove. Set in the file only."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from streamd.config.listen import MaybeAddress, split_address
from streamd.config.section import Section


class Ros2Config(Section):
    """Depth as ROS 2 topics, by DDS: docs/robots.md. Needs streamd[ros2], and no ROS. Not by the API."""

    enabled: bool = False
    """Whoever is in the domain gets the pictures of all streams: DDS asks nobody for a token."""
    domain: int = Field(default=0, ge=0, le=232)
    """ROS_DOMAIN_ID of those who are to get them."""
    namespace: str = Field(default="streamd", pattern=r"^[A-Za-z][A-Za-z0-9_]{0,63}(/[A-Za-z][A-Za-z0-9_]{0,63}){0,3}$")
    """What topics begin with: /streamd/NAME/depth/image_raw."""
    max_fps: float = Field(default=10.0, gt=0, le=240)
    """Frames of each stream beyond this rate are not published."""


class FoxgloveConfig(Section):
    """Depth live in Foxglove, and as MCAP files: docs/robots.md. Needs streamd[foxglove]. Not by the API."""

    listen: MaybeAddress = ""
    """127.0.0.1:8765, say, for ws://; empty: no server. Others than this machine need server.allow_anonymous, for
    Foxglove has no tokens: any program here gets the pictures, and any page in a browser here."""
    mcap: Path | None = None
    """A folder: all that the server would send is written there, as MCAP."""
    mcap_minutes: float = Field(default=60.0, ge=0.1, le=1440)
    """Length of a file, which ends earlier at an eighth of `mcap_max_gb`."""
    mcap_max_gb: float = Field(default=10.0, gt=0)
    """The oldest files go when all of them together are larger."""
    max_fps: float = Field(default=10.0, gt=0, le=240)
    """Frames of each stream beyond this rate are neither sent nor written."""

    @property
    def address(self) -> tuple[str, int]:
        return split_address(self.listen)
