"""The daemon in a child process, each test with a STREAMD_HOME of its own.

What takes long to make is made once, and copied by the other processes of a run: the networks converted for OpenVINO,
and a checkpoint of MiDaS_small with random numbers. STREAMD_E2E_CACHE keeps both from one run to the next;
STREAMD_E2E_ARTEFACTS says where pictures of the page go.
"""

from __future__ import annotations

import fcntl
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
    shared = Shared(tmp_path_factory.mktemp("own"))
    copy_of(shared, make_embedded, tmp_path_factory)
    return shared


@pytest.fixture(scope="session")
def midas_small(shared: Shared, tmp_path_factory: pytest.TempPathFactory) -> Shared:
    """With MiDaS_small too: the official layout, random numbers."""
    copy_of(shared, make_midas_small, tmp_path_factory)
    return shared


def copy_of(shared: Shared, make: Callable[[Shared], None], temporary: pytest.TempPathFactory) -> None:
    """Of what the first process of this run that comes here has made; the others wait for it."""
    run = temporary.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        run = run.parent
    original = Shared(Path(KEPT_CACHE).resolve() if KEPT_CACHE else run / "shared")
    original.root.mkdir(parents=True, exist_ok=True)
    with (run / "shared.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = run / f"shared-{make.__name__}"
        if not made.exists():
            make(original)
            made.touch()
        shutil.copytree(original.root, shared.root, copy_function=copy_new, dirs_exist_ok=True)


def copy_new(source: str, target: str) -> None:
    """What is there may be in use."""
    if not os.path.exists(target):
        shutil.copy2(source, target)


def make_embedded(original: Shared) -> None:
    root = original.root
    still = make_still(root / "warm-up.png")
    done = streamd(root, "depth", still, "--output", root / "warm-up.npz", "--model", "embedded")
    assert done.code == 0, done.stderr
    original.measure("embedded")


def make_midas_small(original: Shared) -> None:
    root, checkpoint = original.root, original.checkpoint
    if not checkpoint.exists():
        write_midas_small(checkpoint.with_suffix(".new"), seed=1).replace(checkpoint)
    if not (original.models / "midas_small" / "manifest.json").exists():
        done = streamd(root, "models", "import", "midas_small", checkpoint)
        assert (done.code, done.stderr) == (0, "")
        assert "not the official file" in done.stdout
    still, result = root / "warm-up.png", root / "warm-up.npz"
    done = streamd(root, "depth", still, "--output", result, "--model", "midas_small", within_s=110)
    assert done.code == 0, done.stderr
    original.measure("midas_small")


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
