"""What was measured of a model on this CPU: which precisions and runtimes agree with float32 here, and how fast.

A child measures, at low priority: it may be killed, and what it takes of memory goes with it.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache as cached
from functools import partial
from pathlib import Path
from typing import Any

from streamd.depth import child
from streamd.depth.files import locked, one_line
from streamd.depth.models import ModelSpec
from streamd.depth.runtimes import missing_package, runs
from streamd.errors import DepthError

TIMEOUT_S = 600.0

_try = partial(child.try_model, "streamd.depth.profiler")


@dataclass(frozen=True)
class Measured:
    """One precision or runtime on this CPU."""

    ms: float
    """Least time of one inference at the calibration's size, batch 1, all cores: others on the box only add to it."""
    error: float
    """Worst frame's mean |difference| from float32, as a share of its 2-98 % spread."""


@dataclass(frozen=True)
class Profile:
    """What was measured on one kind of CPU with one OpenVINO."""

    cpu: str
    cores: int
    openvino: str
    width: int
    height: int
    precisions: Mapping[str, Measured]
    """fp32, and bf16 where the CPU has it."""
    chosen: str
    """The fastest that agrees with float32."""
    others: Mapping[str, Measured] = field(default_factory=dict)
    """Runtimes beside OpenVINO that agree with it: in float32."""

    def best(self, runtime: str, precision: str) -> tuple[str, str]:
        """The fastest runtime and precision of those that were measured; "auto" takes any. One other than OpenVINO has
        to be faster by a tenth: what is measured on a busy box varies."""
        own = self.chosen if precision == "auto" else precision
        times = {("openvino", name): measured.ms for name, measured in self.precisions.items() if name == own}
        if runtime == "auto" and precision in ("auto", "fp32"):
            times |= {(name, "fp32"): 1.1 * measured.ms for name, measured in self.others.items()}
        return min(times, key=times.__getitem__, default=("openvino", own))

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Profile:
        """Raises KeyError or TypeError when it is no profile."""
        measured = {
            key: {name: Measured(**each) for name, each in content[key].items()} for key in ("precisions", "others")
        }
        return cls(**{**content, **measured})


def find_profile(path: Path) -> Profile | None:
    """None when nothing has been measured yet. Raises nothing."""
    try:
        return Profile.from_json(json.loads(path.read_text()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def profile_path(cache: Path, spec: ModelSpec, sha256: str) -> Path:
    """Where the profile of these weights on this CPU with this OpenVINO is, or will be."""
    name, flags = cpu()
    key = f"{name}|{flags}|{core_count()}|{openvino_version()}"
    key += "".join(f"|{other} {_version(other)}" for other in other_runtimes(spec))
    return cache / "profiles" / f"{spec.name}-{sha256[:16]}-{hashlib.sha256(key.encode()).hexdigest()[:12]}.json"


def measure(
    spec: ModelSpec,
    weights: Path,
    sha256: str,
    cache: Path,
    *,
    timeout_s: float = TIMEOUT_S,
    stop: threading.Event | None = None,
) -> Profile:
    """The profile of these weights; made by a child where the cache lacks it. Blocks for seconds then.

    Any thread; ``stop`` ends the wait and the child. Two processes that ask at once measure once.
    Raises WeightsRejected when the weights are at fault, else DepthError.
    """
    path = profile_path(cache, spec, sha256)
    if found := find_profile(path):
        return found
    with one_line(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path.with_suffix(".lock"), timeout_s, stop) as lock:
            if not (found := find_profile(path)):
                arguments = ["measure", spec.reference, str(weights), sha256, str(path)]
                _try(spec, arguments, weights=weights, timeout_s=timeout_s, stop=stop, pass_fds=(lock,))
                found = find_profile(path)
    if not found:
        raise DepthError(f"model {spec.name}: no profile was left in {path}")
    return found


def check_weights(
    spec: ModelSpec, weights: Path, *, timeout_s: float = TIMEOUT_S, stop: threading.Event | None = None
) -> None:
    """Loads the file as the network's weights in a child, and tries them. Raises like ``measure``."""
    _try(spec, ["check", spec.reference, str(weights)], weights=weights, timeout_s=timeout_s, stop=stop)


@cached
def cpu() -> tuple[str, str]:
    """(model name, feature flags) of the first core."""
    try:
        text = Path("/proc/cpuinfo").read_text().split("\n\n")[0]
    except OSError:
        text = ""
    facts = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())}
    name = facts.get("model name") or f"{platform.machine()} {facts.get('CPU part', '')}".strip()
    return name, facts.get("flags") or facts.get("Features", "")


def core_count() -> int:
    return len(os.sched_getaffinity(0))


def openvino_version() -> str:
    return importlib.metadata.version("openvino")


def other_runtimes(spec: ModelSpec) -> list[str]:
    """Installed ones that may be faster than OpenVINO, and take this network. Not torch: it is the reference."""
    return [] if missing_package("onnxruntime") or not runs("onnxruntime", spec) else ["onnxruntime"]


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:  # it came by another name, such as onnxruntime-gpu
        return ""
