"""What was measured of a model on this CPU: which precisions and runtimes agree with float32 here, and how fast.

A child measures, at low priority: it may be killed, and what it takes of memory goes with it.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import logging
import os
import platform
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cache as cached
from pathlib import Path
from typing import Any

from streamd.depth import child
from streamd.depth.files import locked, one_line
from streamd.depth.models import ModelSpec
from streamd.depth.runtimes import missing_package, runs
from streamd.errors import DepthError, WeightsRejected

REFUSED = 65
"""What the child exits with when the weights are at fault: EX_DATAERR of sysexits.h."""
TIMEOUT_S = 600.0

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Measured:
    """One precision or runtime on this CPU."""

    ms: float
    """Median time of one inference at the calibration's size, batch 1, all cores."""
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
                _run_child(spec, ["measure", spec.reference, str(weights), sha256, str(path)], lock, timeout_s, stop)
                found = find_profile(path)
    if not found:
        raise DepthError(f"model {spec.name}: no profile was left in {path}")
    return found


def check_weights(
    spec: ModelSpec, weights: Path, *, timeout_s: float = TIMEOUT_S, stop: threading.Event | None = None
) -> None:
    """Loads the file as the network's weights in a child, and tries them. Raises like ``measure``."""
    _run_child(spec, ["check", spec.reference, str(weights)], None, timeout_s, stop)


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


def _run_child(
    spec: ModelSpec, arguments: list[str], lock: int | None, timeout_s: float, stop: threading.Event | None
) -> None:
    """Runs ``streamd.depth.profiler`` to its end. It inherits the lock: should we be killed, the next
    process waits for it instead of doing the same again."""
    try:
        ended = child.run(
            "streamd.depth.profiler",
            arguments,
            timeout_s=timeout_s,
            stop=stop,
            pass_fds=() if lock is None else (lock,),
        )
    except InterruptedError:
        raise DepthError(f"model {spec.name}: interrupted") from None
    except TimeoutError:
        raise DepthError(f"model {spec.name}: trying it took more than {timeout_s:.0f} s") from None
    _log.debug("profiler of %s ended with %s:\n%s", spec.name, ended.code, ended.problems)
    if ended.code == REFUSED:
        raise WeightsRejected(arguments[2], ended.reason)
    if ended.code:
        raise DepthError(f"model {spec.name}: cannot be tried: {ended.reason}")
