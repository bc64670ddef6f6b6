from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from streamd.errors import StreamdError
from streamd.installer import package

REPOSITORY = Path(__file__).parents[3]


def test_a_checkout_is_what_is_installed() -> None:
    assert package.source() == REPOSITORY


@pytest.mark.parametrize(
    ("direct", "expected"),
    [
        ("{}", "streamd==0.1.0"),
        (json.dumps({"url": "https://x/streamd.whl"}), "https://x/streamd.whl"),
        (json.dumps({"url": "https://x/s", "vcs_info": {"vcs": "git", "commit_id": "12ab"}}), "git+https://x/s@12ab"),
    ],
)
def test_an_installed_package_installs_itself(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, direct: str, expected: str
) -> None:
    metadata = tmp_path / "streamd-0.1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Name: streamd\nVersion: 0.1.0\n")
    (metadata / "direct_url.json").write_text(direct)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setattr(package, "_CHECKOUT", tmp_path)
    monkeypatch.setattr(package, "__version__", "0.1.0")
    assert package.source() == expected


def test_a_build_gets_the_sources_only(tmp_path: Path) -> None:
    copy = package.copy_sources(REPOSITORY, tmp_path)
    assert (copy / "streamd/cli/run.py").read_bytes() == (REPOSITORY / "streamd/cli/run.py").read_bytes()
    assert {path.name for path in copy.iterdir()} == set(package._SOURCES)
    assert not list(copy.rglob("__pycache__"))


def test_shipped_files_are_those_of_the_checkout_or_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert package.shipped("systemd/streamd.service") == REPOSITORY / "systemd/streamd.service"
    monkeypatch.setattr(package, "_CHECKOUT", tmp_path)
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    (tmp_path / "share/streamd/requirements").mkdir(parents=True)
    (tmp_path / "share/streamd/requirements/run.lock").touch()
    assert package.shipped("requirements/run.lock") == tmp_path / "share/streamd/requirements/run.lock"
    with pytest.raises(StreamdError, match=r"none\.service: neither is there"):
        package.shipped("systemd/none.service")


def test_the_fingerprint_is_of_code_and_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = package.fingerprint()
    assert package.fingerprint() == before
    locks = tmp_path / "requirements"
    locks.mkdir()
    for name in package.LOCKS:
        (tmp_path / name).write_text("other==1\n")
    monkeypatch.setattr(package, "_CHECKOUT", tmp_path)
    code, lock = package.fingerprint().split(" ")
    assert (code == before.split(" ")[0], lock == before.split(" ")[1]) == (True, False)


def test_torch_from_another_index_is_of_the_locked_version() -> None:
    assert [line.partition("==")[0] for line in package.torch_requirements()] == ["timm", "torch", "torchvision"]
