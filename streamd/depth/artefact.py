"""Weights become a runtime artefact once, in a short-lived child: this side never holds torch.

An artefact is a directory of the cache: the network as OpenVINO IR with any batch and size, what
torch answers to frames of the demo clip (``calibration.npz``), and for each kind of CPU that has
used it a profile that proves which precisions agree with torch there, and how fast they are.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import logging
import os
import platform
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cache as cached
from pathlib import Path
from typing import Any

from streamd.depth.files import locked, one_line
from streamd.depth.models import ModelSpec
from streamd.depth.process import child_environment
from streamd.errors import DepthError, WeightsRejected

FORMAT = 1
"""Part of the cache key: raise it with every change of what the converter makes."""
REFUSED = 65
"""What the child exits with when the weights are at fault: EX_DATAERR of sysexits.h."""
TIMEOUT_S = 600.0
_POLL_S = 0.1

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Measured:
    """One precision on this CPU."""

    ms: float
    """Median time of one inference at the calibration's size, batch 1, all cores."""
    error: float
    """Worst frame's mean |difference| from torch's float32, as a share of its 2-98 % spread."""


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
    """The fastest that agrees with torch."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Profile:
        """Raises KeyError or TypeError when it is no profile."""
        precisions = {name: Measured(**measured) for name, measured in content["precisions"].items()}
        return cls(**{**content, "precisions": precisions})


@dataclass(frozen=True)
class Artefact:
    """A network ready for OpenVINO, in ``directory``."""

    model: str
    sha256: str
    """Of the weights it was made from."""
    directory: Path
    profile: Profile

    @property
    def xml(self) -> Path:
        return self.directory / "model.xml"

    @property
    def calibration(self) -> Path:
        """npz: ``inputs`` (n, 3, h, w) and torch's ``outputs`` (n, h, w), float32."""
        return self.directory / "calibration.npz"

    @property
    def chosen(self) -> str:
        """The precision to use on this CPU."""
        return self.profile.chosen


def prepare(
    spec: ModelSpec,
    weights: Path,
    sha256: str,
    cache: Path,
    *,
    timeout_s: float = TIMEOUT_S,
    stop: threading.Event | None = None,
    on_work: Callable[[], None] = lambda: None,
) -> Artefact:
    """The artefact of these weights with a profile of this CPU; made by a child where the cache lacks it.

    Blocks for seconds the first time and reads two small files later. Any thread; ``stop`` ends the
    wait and the child. Two processes that ask at once make it once.
    ``on_work`` is called when there is something to wait for. Raises WeightsRejected when the
    weights are at fault, else DepthError.
    """
    directory = cache / f"{spec.name}-{sha256[:16]}-v{FORMAT}"
    if found := _find(spec, sha256, directory):
        return found
    with one_line(cache):
        cache.mkdir(parents=True, exist_ok=True)
        with locked(cache / f".{directory.name}.lock", timeout_s, stop) as lock:
            if not (found := _find(spec, sha256, directory)):
                on_work()
                try:
                    _run_child(
                        spec, ["prepare", spec.name, str(weights), sha256, str(directory)], lock, timeout_s, stop
                    )
                finally:
                    for leftover in cache.glob(f".{directory.name}-*"):
                        shutil.rmtree(leftover, ignore_errors=True)
                found = _find(spec, sha256, directory)
    if not found:
        raise DepthError(f"model {spec.name}: the converter left no artefact in {directory}")
    return found


def check_weights(
    spec: ModelSpec, weights: Path, *, timeout_s: float = TIMEOUT_S, stop: threading.Event | None = None
) -> None:
    """Loads the file as the network's weights in a child, and tries them. Raises like ``prepare``."""
    _run_child(spec, ["check", spec.name, str(weights)], None, timeout_s, stop)


def is_whole(directory: Path) -> bool:
    """Whether every file is there with the size that the converter noted last."""
    try:
        sizes = json.loads((directory / "artefact.json").read_text())["files"]
        return all((directory / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError, KeyError, AttributeError):
        return False


def profile_path(directory: Path) -> Path:
    """Where the profile of this CPU and this OpenVINO is, or will be."""
    name, flags = cpu()
    key = f"{name}|{flags}|{core_count()}|{openvino_version()}"
    return directory / f"profile-{hashlib.sha256(key.encode()).hexdigest()[:12]}.json"


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


def _find(spec: ModelSpec, sha256: str, directory: Path) -> Artefact | None:
    if not is_whole(directory):
        return None
    try:
        profile = Profile.from_json(json.loads(profile_path(directory).read_text()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return Artefact(spec.name, sha256, directory, profile)


def _run_child(
    spec: ModelSpec, arguments: list[str], lock: int | None, timeout_s: float, stop: threading.Event | None
) -> None:
    """Runs ``streamd.depth.converter`` to its end. It inherits the lock: should we be killed, the next
    process waits for it instead of doing the same again."""
    child = subprocess.Popen(
        [sys.executable, "-m", "streamd.depth.converter", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=child_environment(os.environ),
        text=True,
        errors="replace",
        start_new_session=True,  # a Ctrl-C is ours to handle
        pass_fds=() if lock is None else (lock,),
    )
    try:
        output = _listen(child, spec, timeout_s, stop)
    finally:
        if child.poll() is None:
            child.kill()
        child.communicate()
    _log.debug("converter of %s ended with %s:\n%s", spec.name, child.returncode, output)
    if child.returncode == 0:
        return
    reason = output.strip().splitlines()[-1] if output.strip() else "it gave no reason"
    if child.returncode == REFUSED:
        raise WeightsRejected(arguments[2], reason)
    if child.returncode < 0:
        reason = f"killed by {signal.Signals(-child.returncode).name} (is there enough memory?)"
    raise DepthError(f"model {spec.name}: conversion failed: {reason}")


def _listen(child: subprocess.Popen[str], spec: ModelSpec, timeout_s: float, stop: threading.Event | None) -> str:
    give_up_at = time.monotonic() + timeout_s
    while True:
        try:
            return child.communicate(timeout=_POLL_S)[1]
        except subprocess.TimeoutExpired:
            if stop is not None and stop.is_set():
                raise DepthError(f"model {spec.name}: conversion interrupted") from None
            if time.monotonic() > give_up_at:
                raise DepthError(f"model {spec.name}: conversion took more than {timeout_s:.0f} s") from None
