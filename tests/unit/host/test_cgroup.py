from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from streamd.host import cgroup


class TestControlGroups:
    @pytest.fixture
    def groups(self, tmp_path: Path) -> Callable[[str, dict[str, str]], tuple[Path, Path]]:
        def make(cgroup: str, files: dict[str, str]) -> tuple[Path, Path]:
            (tmp_path / "proc/self").mkdir(parents=True)
            (tmp_path / "proc/self/cgroup").write_text(cgroup)
            for name, text in files.items():
                file = tmp_path / "sys" / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text)
            return tmp_path / "proc", tmp_path / "sys"

        return make

    V2 = "0::/system.slice/streamd.service\n"
    V1 = "5:cpuset:/\n4:memory:/docker/x\n2:cpuacct,cpu:/\n0::/\n"

    @pytest.mark.parametrize(
        ("cgroup_text", "files", "limit"),
        [
            ("", {}, None),
            (V2, {}, None),
            (V2, {"system.slice/streamd.service/memory.max": "max\n"}, None),
            (V2, {"system.slice/streamd.service/memory.max": "500000\n"}, 500_000),
            (V2, {"system.slice/streamd.service/memory.max": "max\n", "system.slice/memory.max": "400000\n"}, 400_000),
            (V2, {"memory.max": "300\n", "system.slice/memory.max": "400\n"}, 300),
            (V1, {"memory/docker/x/memory.limit_in_bytes": "9223372036854771712\n"}, None),
            (V1, {"memory/docker/x/memory.limit_in_bytes": "700\n", "memory/memory.limit_in_bytes": "900"}, 700),
            (V1, {"memory/memory.limit_in_bytes": "900\n"}, 900),
            ("nonsense", {}, None),
        ],
    )
    def test_memory(self, groups: Any, cgroup_text: str, files: dict[str, str], limit: int | None) -> None:
        assert cgroup.memory_limit_bytes(*groups(cgroup_text, files)) == limit

    @pytest.mark.parametrize(
        ("cgroup_text", "files", "free"),
        [
            ("", {}, 1_024_000),
            (V2, {"system.slice/memory.max": "max\n", "system.slice/memory.current": "9000\n"}, 1_024_000),
            (V2, {"system.slice/memory.max": "9000\n", "system.slice/memory.current": "6000\n"}, 3000),
            (
                V2,
                {
                    "system.slice/memory.max": "9000\n",
                    "system.slice/memory.current": "6000\n",
                    "system.slice/memory.stat": "anon 1000\ninactive_file 5000\n",
                },
                8000,
            ),
            (V2, {"memory.max": "100\n", "memory.current": "200\n"}, 0),
            (V1, {"memory/memory.limit_in_bytes": "900\n", "memory/memory.usage_in_bytes": "400\n"}, 500),
        ],
    )
    def test_free_memory(self, groups: Any, cgroup_text: str, files: dict[str, str], free: int) -> None:
        proc, sys = groups(cgroup_text, files)
        (proc / "meminfo").write_text("MemTotal: 9999 kB\nMemAvailable: 1000 kB\n")
        assert cgroup.memory_free_bytes(proc, sys) == free

    @pytest.mark.parametrize(
        ("cgroup_text", "files", "limit"),
        [
            (V2, {}, None),
            (V2, {"system.slice/streamd.service/cpu.max": "max 100000\n"}, None),
            (V2, {"system.slice/streamd.service/cpu.max": "150000 100000\n"}, 1.5),
            (V2, {"system.slice/cpu.max": "50000 100000", "system.slice/streamd.service/cpu.max": "max 100000"}, 0.5),
            (V1, {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
            (V1, {"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 2.0),
        ],
    )
    def test_cpu(self, groups: Any, cgroup_text: str, files: dict[str, str], limit: float | None) -> None:
        assert cgroup.cpu_limit(*groups(cgroup_text, files)) == limit
