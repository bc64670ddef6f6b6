"""What there is to know about a network."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from streamd.depth.graph.ops import Network


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes the network's input: (x / 255 - mean) / std, RGB, NCHW."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    input_size: int = 256
    """Upper bound of the longest side, px."""
    multiple_of: int = 32
    interpolation: Literal["cubic", "area"] = "cubic"


@dataclass(frozen=True)
class Download:
    url: str
    sha256_prefix: str
    """All that is publicly known of the digest; the full one is recorded at the first fetch."""


@dataclass(frozen=True)
class ModelSpec:
    """One network that streamd can run."""

    name: str
    title: str
    licence: str
    network: Network = field(repr=False)
    preprocessing: Preprocessing
    polarity: Literal["inverse_depth", "depth"] = "inverse_depth"
    """inverse_depth: larger is nearer. depth: larger is farther."""
    coarse: bool = False
    """True for a fall-back whose depth is rough."""
    embedded_weights: str | None = None
    """A file in streamd/assets."""
    download: Download | None = None
