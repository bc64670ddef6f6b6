"""What a process holds: torch stays away, and a command answers at once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.integration.conftest import Installed
from tests.support.waiting import scaled

HEAVY = ("torch", "timm", "torchvision", "safetensors", "openvino")

DAEMON = """
import asyncio, json, sys
from pathlib import Path
from streamd.config.load import parse
from streamd.daemon import Daemon
from streamd.depth.store import ModelStore

async def main():
    config = parse({
        "server": {"listen": "127.0.0.1:0"},
        "model": {"name": "embedded", "precision": "fp32"},
        "streams": {"test": {"source": "lavfi:testsrc2=size=128x96:rate=20"}},
    })
    daemon = Daemon(config, ModelStore(Path(sys.argv[1]), Path(sys.argv[2])))
    running = asyncio.create_task(daemon.run())
    async with asyncio.timeout(40):
        while daemon.streams["test"].state != "running":
            await asyncio.sleep(0.05)
    await daemon.stills.make(daemon.streams["test"], "depth", "png")
    daemon.stop()
    await running

asyncio.run(main())
import threading, time
give_up_at = time.monotonic() + 2
while threading.active_count() > 1 and time.monotonic() < give_up_at:
    time.sleep(0.01)
print(json.dumps({"modules": sorted(sys.modules), "threads": [thread.name for thread in threading.enumerate()]}))
"""


def test_a_running_daemon_holds_neither_torch_nor_openvino(embedded: Installed, tmp_path: Path) -> None:
    command = [sys.executable, "-c", DAEMON, str(tmp_path), str(embedded.cache)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=scaled(60))
    assert done.returncode == 0, done.stderr
    left = json.loads(done.stdout)
    assert [name for name in HEAVY if name in left["modules"]] == []
    assert left["threads"] == ["MainThread"]


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("streamd.cli", ("torch", "openvino", "aiohttp", "aiortc", "av", "cv2", "numpy")),
        ("streamd.daemon", HEAVY),
        ("streamd.jobs.convert", HEAVY),
        ("streamd.jobs.picture", HEAVY),
        ("streamd.depth.worker", ("torch", "openvino", "aiohttp", "aiortc", "pydantic", "cv2")),
        ("streamd.depth.runtimes.openvino", ("torch", "timm", "aiohttp", "aiortc")),
    ],
)
def test_an_import_stays_light(module: str, absent: tuple[str, ...]) -> None:
    code = f"import sys, {module}; print([name for name in {absent} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "[]"


def test_help_answers_at_once() -> None:
    """That is: without what takes long to load."""
    code = "import sys; from streamd.cli import main\ntry: main(['--help'])\nfinally: print(sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout
    assert "Publish live depth" in loaded
    for heavy in ("numpy", "cv2", "av", "aiohttp", "aiortc", "openvino", "torch"):
        assert f"'{heavy}'" not in loaded
