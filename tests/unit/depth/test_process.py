"""What a worker process gets of the environment."""

from __future__ import annotations

import pytest

from streamd.depth.process import child_environment


@pytest.mark.parametrize(
    "name",
    [
        "PATH",
        "HOME",
        "STREAMD_HOME",
        "LC_ALL",
        "LD_LIBRARY_PATH",
        "PYTHONPATH",
        "PYTHONDONTWRITEBYTECODE",
        "COVERAGE_PROCESS_START",
        "MALLOC_ARENA_MAX",
        "OMP_NUM_THREADS",
        "OV_CPU_CAPABILITY",
    ],
)
def test_what_a_worker_needs_is_passed_on(name: str) -> None:
    assert child_environment({name: "x"}) == {name: "x"}


@pytest.mark.parametrize(
    "name",
    [
        "STREAMD_SERVER__CONTROL_TOKENS",
        "VIEWERS",
        # They begin like something that is passed on.
        "LDAP_PASSWORD",
        "OVH_TOKEN",
        "COVERALLS_TOKEN",
        "PYTHONANYWHERE_TOKEN",
        "TORCHVAULT_SECRET",
        "LDAP",
        "OVH",
        "PYTHON_CAMERA",
        "PYTHONANYWHERE",
        "PATH_TO_IT",
        "ld_preload",
        # They begin like it, and say what they are.
        "OV_API_TOKEN",
        "TORCH_KEY",
        "CUDA_PASSWD",
        "LC_CREDENTIALS",
        "OMP_SECRET_1",
    ],
)
def test_what_may_be_a_secret_is_not(name: str) -> None:
    assert child_environment({name: "x"}) == {}
