"""Whether a network runs in int8 on this box: found out once for its weights on this kind of machine, and kept."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from streamd.depth import child
from streamd.depth.files import locked, one_line, sha256_of
from streamd.depth.int8 import scenes
from streamd.depth.int8.guard import Figures
from streamd.depth.int8.scenes import Take
from streamd.depth.models import ModelSpec
from streamd.depth.profile import cpu, openvino_version
from streamd.errors import DepthError

TIMEOUT_S = 3600.0
"""Large networks take minutes, and live streams go first."""


@dataclass(frozen=True)
class Verdict:
    """What came of it."""

    taken: bool
    figures: Figures
    calibrated_on: int
    tested_on: int
    """Pictures."""
    own: bool
    """Enough were this box's own; else most were those that are built in."""
    graph_sha256: str = ""
    """Of the quantised network, where it was taken: its .xml, and its .bin after it."""

    def refusal(self, spec: ModelSpec) -> str:
        tried = f"on {self.tested_on} pictures of scenes that it was not made of"
        return f"int8 of {spec.name} refused: {tried}: {self.figures}"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Verdict:
        """Raises KeyError or TypeError when it is none."""
        return cls(**{**content, "figures": Figures(**content["figures"])})


class PrecisionRefused(DepthError):
    """Its line has the figures."""


def verdict_path(cache: Path, spec: ModelSpec, sha256: str) -> Path:
    """Where the verdict is, or will be, and the graph beside it with the ending .xml."""
    name, flags = cpu()
    key = hashlib.sha256(f"{name}|{flags}|{openvino_version()}|{nncf_version()}".encode()).hexdigest()
    return cache / "int8" / f"{spec.name}-{sha256[:16]}-{key[:12]}.json"


def graph_path(cache: Path, spec: ModelSpec, sha256: str) -> Path:
    """An OpenVINO IR; only where the verdict says so."""
    return verdict_path(cache, spec, sha256).with_suffix(".xml")


def nncf_version() -> str:
    try:
        return importlib.metadata.version("nncf")
    except importlib.metadata.PackageNotFoundError:
        return ""


def find_verdict(cache: Path, spec: ModelSpec, sha256: str) -> Verdict | None:
    """None where there is none, or its graph is not what it was. Raises nothing."""
    path = verdict_path(cache, spec, sha256)
    try:
        verdict = Verdict.from_json(json.loads(path.read_text()))
        if verdict.taken and sha256_of(*graph_files(path)) != verdict.graph_sha256:
            return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return verdict


def graph_files(verdict: Path) -> tuple[Path, Path]:
    return verdict.with_suffix(".xml"), verdict.with_suffix(".bin")


def stands(verdict: Verdict | None, own: bool) -> bool:
    """Whether it need not be found out again. One of built-in pictures says little against a network once there are
    enough of this box (``own``)."""
    return verdict is not None and (verdict.taken or verdict.own or not own)


def decide(
    spec: ModelSpec,
    weights: Path,
    sha256: str,
    cache: Path,
    takes: Sequence[Take],
    *,
    timeout_s: float = TIMEOUT_S,
    stop: threading.Event | None = None,
) -> Verdict:
    """The verdict; a child quantises the network and tries it where there is none that stands. Blocks for seconds to
    minutes then. ``takes``: pictures of this box.

    Any thread; ``stop`` ends the wait and the child. Raises WeightsRejected, DepthError.
    """
    verdict = find_verdict(cache, spec, sha256)
    if verdict is not None and stands(verdict, scenes.are_enough(takes)):
        return verdict
    path = verdict_path(cache, spec, sha256)
    with one_line(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path.with_suffix(".lock"), timeout_s, stop) as lock:
            verdict = find_verdict(cache, spec, sha256)
            if not stands(verdict, scenes.are_enough(takes)):
                _run_child(spec, weights, sha256, path, takes, lock, timeout_s, stop)
                verdict = find_verdict(cache, spec, sha256)
    if verdict is None:
        raise DepthError(f"model {spec.name}: quantising it left nothing in {path}")
    return verdict


def _run_child(
    spec: ModelSpec,
    weights: Path,
    sha256: str,
    path: Path,
    takes: Sequence[Take],
    lock: int,
    timeout_s: float,
    stop: threading.Event | None,
) -> None:
    """The pictures go there in memory that only the two hold."""
    pictures = os.memfd_create("streamd-pictures")
    try:
        with os.fdopen(os.dup(pictures), "wb") as file:
            scenes.write(takes, file)
        child.try_model(
            "streamd.depth.int8.quantiser",
            spec,
            [spec.reference, str(weights), sha256, str(path), str(pictures)],
            weights=weights,
            timeout_s=timeout_s,
            stop=stop,
            pass_fds=(lock, pictures),
        )
    finally:
        os.close(pictures)
