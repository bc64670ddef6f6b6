from __future__ import annotations

import sys
from pathlib import Path

import pytest

from streamd.errors import StreamdError
from streamd.installer import environment, package
from tests.support.installing import REPOSITORY, Box
from tests.unit.installer.conftest import Code


def pip_lines(box: Box) -> list[str]:
    return [line.partition(" -m pip install ")[2] for line in box.ran if " -m pip install " in line]


def test_all_but_streamd_itself_is_installed_by_digest(box: Box, code: Code) -> None:
    box.install()
    others, streamd = pip_lines(box)
    common = "--no-cache-dir --no-input --disable-pip-version-check --quiet --no-deps"
    assert others == f"{common} --require-hashes --requirement {REPOSITORY}/requirements/run.lock"
    assert streamd == f"{common} --no-build-isolation streamd==0.1.0"


def test_torch_comes_from_another_index_on_request(box: Box, code: Code) -> None:
    box.install(torch="https://torch.example/cpu")
    others, torch, _ = pip_lines(box)
    wanted = " ".join(package.torch_requirements())
    assert torch.endswith(f"--quiet --index-url https://torch.example/cpu {wanted}")
    assert others.endswith("run.lock")


def test_torch_is_installed_by_digest_too(box: Box, code: Code) -> None:
    box.install(torch="")
    assert pip_lines(box)[1].endswith(f"--require-hashes --requirement {REPOSITORY}/requirements/torch.lock")


def test_a_checkout_is_copied_before_it_is_built(box: Box, code: Code, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package, "source", lambda: REPOSITORY)
    monkeypatch.setattr(package, "_SOURCES", ("pyproject.toml",))
    box.install()
    assert pip_lines(box)[-1].endswith("versions/0.1.0-first000/build"), "a build leaves files behind"
    assert not (box.root / "opt/streamd/versions/0.1.0-first000/build").exists()


def test_it_is_on_the_disk_before_it_counts(box: Box, code: Code) -> None:
    box.fails["sync --file-system"] = (1, "sync: input/output error")
    with pytest.raises(StreamdError, match="writing to the disk: sync: input/output error"):
        box.install()
    assert not (box.root / "opt/streamd/versions/0.1.0-first000/streamd.json").exists()


def test_a_python_in_a_home_directory_is_of_no_use(box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "base_prefix", "/root/.pyenv/versions/3.11.7")
    monkeypatch.setattr(environment, "_SYSTEM_PYTHON", Path("/bin/sh"))
    assert environment.find_python(box.machine) == Path("/bin/sh")
    box.fails["/bin/sh"] = (1, "too old")
    with pytest.raises(StreamdError, match=r"no Python 3\.11 or newer.*name one by --python"):
        environment.find_python(box.machine)
