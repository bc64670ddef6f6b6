"""The daemon in a child process, each test with a STREAMD_HOME of its own.

What takes long to make is made once: the networks converted for OpenVINO, and a checkpoint of
MiDaS_small with random numbers. STREAMD_E2E_CACHE keeps both from one run to the next;
STREAMD_E2E_ARTEFACTS says where pictures of the page go.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from streamd.depth.models import find_model
from streamd.depth.profile import measure
from streamd.depth.store import ModelStore
from tests.e2e.pictures import make_clip, make_still
from tests.e2e.processes import Daemon, streamd
from tests.support.camera import StartCamera, cameras
from tests.support.checkpoints import write_midas_small
from tests.support.proxy import Proxy, proxies
from tests.support.witness import Join, witnesses

StartDaemon = Callable[..., Daemon]

# Read at once: tests/conftest.py takes all that begins with STREAMD_ out of the environment.
KEPT_CACHE = os.environ.get("STREAMD_E2E_CACHE")
ARTEFACTS = os.environ.get("STREAMD_E2E_ARTEFACTS")

_numbers = count()


@dataclass(frozen=True)
class Shared:
    """What every test may use and none may change."""

    root: Path

    @property
    def cache(self) -> Path:
        return self.root / "cache"

    @property
    def models(self) -> Path:
        return self.root / "models"

    @property
    def checkpoint(self) -> Path:
        return self.root / "midas_small.pt"

    def measure(self, model: str) -> None:
        """Which precision is best here: else a daemon would do so in the middle of a test."""
        measure(find_model(model), *ModelStore(self.models, self.cache).weights(model), self.cache)


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Shared:
    """Its cache has the embedded model."""
    root = Path(KEPT_CACHE).resolve() if KEPT_CACHE else tmp_path_factory.mktemp("shared")
    root.mkdir(parents=True, exist_ok=True)
    shared = Shared(root)
    still = make_still(root / "warm-up.png")
    done = streamd(root, "depth", still, "--output", root / "warm-up.npz", "--model", "embedded")
    assert done.code == 0, done.stderr
    shared.measure("embedded")
    return shared


@pytest.fixture(scope="session")
def midas_small(shared: Shared) -> Shared:
    """With MiDaS_small too: the official layout, random numbers."""
    if not shared.checkpoint.exists():
        write_midas_small(shared.checkpoint.with_suffix(".new"), seed=1).replace(shared.checkpoint)
    if not (shared.models / "midas_small" / "manifest.json").exists():
        done = streamd(shared.root, "models", "import", "midas_small", shared.checkpoint)
        assert (done.code, done.stderr) == (0, "")
        assert "not the official file" in done.stdout
    still, result = shared.root / "warm-up.png", shared.root / "warm-up.npz"
    done = streamd(shared.root, "depth", still, "--output", result, "--model", "midas_small", within_s=110)
    assert done.code == 0, done.stderr
    shared.measure("midas_small")
    return shared


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """3 s, 320x180 at 25 fps."""
    return make_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", 3)


@pytest.fixture(scope="session")
def still(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """320x180, PNG."""
    return make_still(tmp_path_factory.mktemp("stills") / "still.png")


@pytest.fixture
def home(shared: Shared, tmp_path: Path) -> Path:
    """A STREAMD_HOME without models; the cache is everybody's."""
    return make_home(shared, tmp_path)


def make_home(shared: Shared, folder: Path, *, models: bool = False) -> Path:
    home = folder / f"home-{next(_numbers)}"
    home.mkdir()
    (home / "cache").symlink_to(shared.cache)
    if models:
        shutil.copytree(shared.models, home / "models", copy_function=os.link)
    return home


@pytest.fixture
def daemon(shared: Shared, tmp_path: Path) -> Iterator[StartDaemon]:
    """``daemon("demo:", ..., STREAMD_SECTION__KEY="...")`` runs streamd with these arguments, on the
    embedded model unless ``model`` says otherwise; it listens when this returns, and ends with the test."""
    yield from run_daemons(shared, tmp_path)


@pytest.fixture(scope="module")
def module_daemon(shared: Shared, tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartDaemon]:
    """The same for tests that only look."""
    yield from run_daemons(shared, tmp_path_factory.mktemp("daemons"))


def run_daemons(shared: Shared, folder: Path) -> Iterator[StartDaemon]:
    started: list[Daemon] = []

    def start(*arguments: str | Path, model: str = "embedded", **environment: str) -> Daemon:
        home = make_home(shared, folder, models=model == "midas_small")
        options = ("--model", model) if model else ()
        one = Daemon((*map(str, arguments), *options), home, environment)
        started.append(one)
        return one.start()

    try:
        yield start
    finally:
        failures = []
        for one in reversed(started):
            try:
                one.close()
            except AssertionError as error:
                failures.append(error)
        if failures:
            raise failures[0]


@pytest.fixture(scope="session")
def artefacts() -> Path:
    folder = Path(ARTEFACTS or Path(__file__).parent / "artefacts").resolve()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture
def camera(tmp_path: Path) -> Iterator[StartCamera]:
    """``camera(*options)`` is a real RTSP server, which ends with the test."""
    with cameras(tmp_path) as start:
        yield start


@pytest.fixture
def proxy() -> Iterator[Callable[[int], Proxy]]:
    """``proxy(port)`` is a bad line to that port."""
    with proxies() as start:
        yield start


@pytest.fixture
async def join() -> AsyncIterator[Join]:
    """``await join(daemon, stream, view)`` is a viewer that notes what it sees, and leaves with the test."""
    async with witnesses() as join:
        yield join
