"""What there is to know about a network."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import isqrt
from pathlib import Path
from typing import Literal

from streamd.depth.graph.ops import Network

Fit = Literal["upper_bound", "lower_bound", "minimal", "exact"]
Enlargement = Literal["cubic", "linear", "corners"]


@dataclass(frozen=True)
class Preprocessing:
    """How a picture becomes the network's input, (x / 255 - mean) / std, RGB, NCHW; and its output the picture's size.

    The network never sees more than ``max_pixels``. A picture longer than ``max_aspect`` to 1 that would exceed them is
    seen smaller; only one longer than the square of that is squashed, too.
    """

    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """The default is for a network that normalises by itself."""
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    input_size: int = 256
    """What ``fit`` takes, px; a multiple of ``multiple_of``."""
    fixed: bool = False
    """The network takes no other ``input_size``."""
    multiple_of: int = 32
    """Of each side, px."""
    height: int | None = None
    """With ``exact``: of the input, where it is another than ``input_size``, px."""
    fit: Fit = "upper_bound"
    """MiDaS's names. The aspect is kept, and then each side rounded, with ``input_size`` for the longer side
    (upper_bound), the shorter one (lower_bound), or that which changes the picture least (minimal). exact: both sides
    are ``input_size``."""
    max_aspect: int = 4
    interpolation: Literal["cubic", "linear", "area"] = "cubic"
    resized_as: Literal["float64", "uint8"] = "float64"
    """uint8: rounded and clipped before it is divided by 255; float64: neither."""
    colours: Literal["rgb", "bgr"] = "rgb"
    """Order of the network's channels; ``mean`` and ``std`` are in it."""
    enlargement: Enlargement = "cubic"
    """cubic and linear are OpenCV's; corners is bilinear, with the centres of the corner pixels in one place
    (``align_corners=True``)."""

    @property
    def one_size(self) -> bool:
        """Whether all pictures come in one size."""
        return self.fit == "exact"

    @property
    def max_side(self) -> int:
        """Of the input, px."""
        longer = max(self.input_size, self.height or 0)
        if self.fit in ("upper_bound", "exact"):
            return longer
        return longer * isqrt(self.max_aspect**3)  # of a picture max_aspect^2 to 1 that has max_pixels

    @property
    def min_side(self) -> int:
        """Of the input, px."""
        if self.fixed and self.fit == "exact":
            return min(self.input_size, self.height or self.input_size)
        return self.multiple_of

    @property
    def max_pixels(self) -> int:
        """Of the input."""
        if self.fit in ("upper_bound", "exact"):
            return self.input_size * (self.height or self.input_size)
        return self.max_aspect * self.input_size**2

    def sized(self, input_size: int | Literal["auto"]) -> Preprocessing:
        """The same for another ``input_size``. Raises ValueError when the network does not take it."""
        if input_size == "auto" or input_size == self.input_size:
            return self
        if self.fixed:
            raise ValueError(f"takes {self.input_size} only")
        if input_size % self.multiple_of:
            raise ValueError(f"takes a multiple of {self.multiple_of}")
        return replace(self, input_size=input_size)


@dataclass(frozen=True)
class Download:
    """The official file."""

    url: str
    sha256: str = ""
    """As much of it as is publicly known, if not all its 64 digits the first ones."""
    size: int | None = None
    """Bytes; None where it is not known."""

    def matches(self, sha256: str) -> bool | None:
        """None where nothing is known."""
        return sha256.startswith(self.sha256) if self.sha256 else None


@dataclass(frozen=True)
class ModelSpec:
    """One network that streamd can run."""

    name: str
    title: str
    licence: str
    """Of the weights."""
    network: Network = field(repr=False)
    preprocessing: Preprocessing
    polarity: Literal["inverse_depth", "depth"] = "inverse_depth"
    """inverse_depth: larger is nearer. depth: larger is farther."""
    least_timeout_s: float = 0.0
    """For an inference, where the configuration allows less: the slowest picture takes a third of it on two cores."""
    least_memory_mb: int = 0
    """For the worker, where the configuration allows less."""
    coarse: bool = False
    """True for a fall-back whose depth is rough."""
    embedded_weights: str | None = None
    """A file in streamd/assets."""
    download: Download | None = None
    bring: str = ""
    """Without a download: which file to import, and where it is from."""
    official_sha256: str = ""
    """Without a download: of the published file, where it is known."""
    notice: str = ""
    """What one who fetches or imports the weights should know of their licence."""

    manifest: Path | None = None
    """Of a network that is in a file of its own: what describes it."""
    file: Path | None = None
    """That file: ONNX or OpenVINO IR."""

    @property
    def reference(self) -> str:
        """What ``find_model`` finds it by."""
        return str(self.manifest or self.name)

    def is_official(self, sha256: str) -> bool | None:
        """None where no digest is published."""
        return (self.download or Download("", self.official_sha256)).matches(sha256)
