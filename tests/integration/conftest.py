"""What takes long to make is made once: random weights, compiled networks, profiles.

They are kept from one run to the next in pytest's cache, under a digest of all that makes them.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import streamd
from streamd.concurrency.backoff import Backoff
from streamd.config.sections import ModelConfig
from streamd.depth.estimator import ModelInfo
from streamd.depth.files import sha256_of
from streamd.depth.graph.openvino import load_model
from streamd.depth.models import ModelSpec, find_model
from streamd.depth.ov import openvino
from streamd.depth.protocol import WorkerJob
from streamd.depth.service import DepthService, ServiceEvents
from streamd.depth.store import ModelStore
from streamd.errors import InferenceFailed
from streamd.media.frames import FloatImage
from tests.support.checkpoints import write_midas_small

KEPT_S = 24 * 3600


@pytest.fixture(scope="session")
def kept(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where weights are, and the cache of models."""
    if not hasattr(request.config, "cache"):
        return tmp_path_factory.mktemp("kept")
    digest = hashlib.sha256()
    package = Path(streamd.__file__).parent
    for file in sorted([*package.glob("depth/**/*.py"), *package.glob("assets/*"), package / "media/frames.py"]):
        digest.update(file.read_bytes())
    for name in ("torch", "timm", "openvino"):
        digest.update(importlib.metadata.version(name).encode())
    root = Path(request.config.cache.mkdir("streamd-models"))
    for other in root.iterdir():
        if time.time() - other.stat().st_mtime > KEPT_S:
            shutil.rmtree(other, ignore_errors=True)
    kept = root / digest.hexdigest()[:16]
    kept.mkdir(exist_ok=True)
    return kept


@dataclass(frozen=True)
class Installed:
    """A network, its weights, and the cache to use for it."""

    spec: ModelSpec
    weights: Path
    sha256: str
    cache: Path

    def job(self, cache: Path, *, slots: int = 2) -> WorkerJob:
        model, weights = self.spec.name, str(self.weights)
        return WorkerJob(model, "openvino", "fp32", weights, self.sha256, str(cache), 1, 1, slots, 32, 256, 65536)

    def compiled(self) -> Callable[[FloatImage], FloatImage]:
        """In this process, in float32: (3, h, w) to (h, w)."""
        model = openvino.Core().compile_model(
            load_model(self.spec, self.weights), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
        )
        return lambda planes: model(planes[None])[0][0].copy()


@pytest.fixture(autouse=True)
def no_profiling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its child would come in the middle of some test."""
    monkeypatch.setattr("streamd.depth.profiling.AFTER_S", 3600.0)


@pytest.fixture(scope="session")
def embedded(kept: Path) -> Installed:
    weights, sha256 = ModelStore(kept / "none", kept).weights("embedded")
    return Installed(find_model("embedded"), weights, sha256, kept)


@pytest.fixture(scope="session")
def midas_weights(kept: Path) -> Path:
    """The official layout, random numbers."""
    path = kept / "midas_small.pt"
    if not path.exists():
        write_midas_small(kept / f"midas_small-{os.getpid()}.new").replace(path)
    return path


@pytest.fixture(scope="session")
def midas_small(kept: Path, midas_weights: Path) -> Installed:
    return Installed(find_model("midas_small"), midas_weights, sha256_of(midas_weights), kept)


@pytest.fixture
def store(tmp_path: Path, embedded: Installed) -> ModelStore:
    """No weights but the embedded ones."""
    return ModelStore(tmp_path / "models", embedded.cache)


class Notes(ServiceEvents):
    """What a service told."""

    def __init__(self) -> None:
        self.running: list[ModelInfo] = []
        self.lost: list[InferenceFailed] = []
        self.endpoints_up: Sequence[bool] = ()

    def model_running(self, info: ModelInfo) -> None:
        self.running.append(info)

    def worker_lost(self, failure: InferenceFailed) -> None:
        self.lost.append(failure)

    def endpoints(self, serving: Sequence[bool]) -> None:
        self.endpoints_up = serving


MakeService = Callable[..., DepthService]


@pytest.fixture
def make_service(store: ModelStore) -> Iterator[MakeService]:
    """Starts services and closes them: ``make_service(**ModelConfig, service={...})``."""
    with ExitStack() as stack:

        def make(*, service: dict[str, Any] | None = None, lazy: bool = False, **config: Any) -> DepthService:
            given = {"name": "embedded", "precision": "fp32", "threads": 1, "download": False, **config}
            options = {
                "events": Notes(),
                "restart_backoff": Backoff(0.05, cap_s=0.2),
                "store": store,
                **(service or {}),
            }
            made = DepthService(ModelConfig(**given), **options)
            stack.callback(made.close)
            made.start(lazy=lazy)
            return made

        yield make


@pytest.fixture(scope="session")
def shared_service(embedded: Installed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DepthService]:
    """The embedded network for tests that harm it no more than by killing its worker."""
    store = ModelStore(tmp_path_factory.mktemp("models"), embedded.cache)
    config = ModelConfig(name="embedded", runtime="openvino", precision="fp32", download=False)
    service = DepthService(config, store, parallel=2, slots=8, restart_backoff=Backoff(0.05, cap_s=0.2))
    service.start()
    service.wait_ready(60)
    yield service
    service.close()
