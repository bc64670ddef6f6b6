"""The lock files against pyproject.toml: `make lock` makes them."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

REPOSITORY = Path(__file__).parents[2]
LOCKS = sorted((REPOSITORY / "requirements").glob("*.lock"))
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
PINNED = re.compile(
    r"^([A-Za-z0-9._-]+)==([^\s;]+)(?: ; ([^\\\n]+))? \\\n((?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+)", re.M
)
TORCH = {"timm", "torch", "torchvision"}


def pinned(name: str) -> dict[str, list[Version]]:
    found: dict[str, list[Version]] = {}
    for package, version, _, _ in PINNED.findall((REPOSITORY / "requirements" / name).read_text()):
        found.setdefault(package, []).append(Version(version))
    return found


def requirements(key: str) -> list[Requirement]:
    listed = {
        "build": PROJECT["build-system"]["requires"],
        "run": PROJECT["project"]["dependencies"],
        **PROJECT["project"]["optional-dependencies"],
    }
    return [Requirement(line) for line in listed[key]]


@pytest.mark.parametrize(
    ("lock", "keys"), [("run.lock", ("build", "run")), ("dev.lock", ("build", "run", "dev", "torch"))]
)
def test_every_dependency_is_locked_within_its_range(lock: str, keys: tuple[str, ...]) -> None:
    locked = {**pinned("torch.lock"), **pinned(lock)}
    for requirement in (each for key in keys for each in requirements(key)):
        versions = locked.get(canonicalize_name(requirement.name), [])
        assert versions, f"{requirement} is not in {lock}: make lock"
        assert all(requirement.specifier.contains(version, prereleases=True) for version in versions), requirement


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.name)
def test_a_lock_is_versions_and_digests_only(lock: Path) -> None:
    text = lock.read_text()
    assert "://" not in text
    rest = PINNED.sub("", text)
    assert [line for line in rest.splitlines() if line and not line.lstrip().startswith("#")] == []


def test_the_locks_agree() -> None:
    run, torch, dev = (pinned(f"{name}.lock") for name in ("run", "torch", "dev"))
    for one, other in ((run, dev), (run, torch), (torch, dev)):
        assert {name: one[name] for name in one.keys() & other.keys()} == {
            name: other[name] for name in one.keys() & other.keys()
        }
    assert run.keys() <= dev.keys()
    assert torch.keys() >= TORCH
    assert not TORCH & (run.keys() | dev.keys()), "TORCH_INDEX has other digests"


def test_what_is_compiled_is_what_builds_streamd() -> None:
    lines = (REPOSITORY / "requirements/build.in").read_text().splitlines()
    assert [line for line in lines if not line.startswith("#")] == PROJECT["build-system"]["requires"]
