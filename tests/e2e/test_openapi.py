"""/openapi.json says how the server is: Schemathesis asks for everything in it, well and badly, and compares."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.e2e.conftest import StartDaemon
from tests.e2e.processes import Daemon
from tests.support.schemathesis_hooks import SPARE, STREAM
from tests.support.waiting import scaled

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.timeout(300)

EXAMPLES = 8
"""Of each method of each path, besides those that follow from the description."""
MIN_CASES = 500
ENDLESS = ("/api/v1/events", "/api/v1/streams/{name}/mjpeg", "/api/v1/streams/{name}/live")
CHECKS = (
    "status_code_conformance",  # a 500 is described nowhere, a 503 where there is one
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
    "unsupported_method",
    "allow_header_conformance",
)


@pytest.fixture(scope="module")
def site(module_daemon: StartDaemon, tmp_path_factory: pytest.TempPathFactory) -> Daemon:
    settings = {
        f"STREAMD_STREAMS__{STREAM}__SOURCE": "lavfi:smptebars=size=320x180:rate=10",
        # What Schemathesis calls all things at first.
        "STREAMD_STREAMS__0__SOURCE": "lavfi:smptebars=size=320x180:rate=10",
        "STREAMD_RECORDING__DIRECTORY": str(tmp_path_factory.mktemp("recordings")),
        "STREAMD_RECORDING__MIN_FREE_GB": "0",
    }
    config = tmp_path_factory.mktemp("openapi") / "none.toml"
    config.write_text("")
    return module_daemon("--config", config, **settings).until_ready()


def schemathesis(site: Daemon, folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    environment = {
        **os.environ,
        "SCHEMATHESIS_HOOKS": "tests.support.schemathesis_hooks",
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
        "NO_COLOR": "1",
    }
    command = [str(Path(sys.executable).with_name("st")), "run", f"{site.url}openapi.json", *options]
    command += ["--seed", "1", "--generation-deterministic", "--continue-on-failure", "--warnings", "off"]
    command += ["--max-examples", str(EXAMPLES), "--request-timeout", "30", "--suppress-health-check", "all"]
    command += ["--checks", ",".join(CHECKS), "--phases", "examples,coverage,fuzzing"]
    command += [option for path in ENDLESS for option in ("--exclude-path", path)]
    return subprocess.run(
        command, env=environment, cwd=folder, capture_output=True, text=True, timeout=scaled(200), check=False
    )


def asked(har: Path) -> set[tuple[str, str, int]]:
    """(method, path, status) of all requests."""
    entries = json.loads(har.read_text())["log"]["entries"]
    return {
        (each["request"]["method"], urlsplit(each["request"]["url"]).path, each["response"]["status"])
        for each in entries
    }


def test_every_answer_is_as_described(site: Daemon, tmp_path: Path) -> None:
    har = tmp_path / "all.har"
    done = schemathesis(site, tmp_path, "--report-har-path", str(har))
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.search(r"(\d+) generated", done.stdout)
    assert found, done.stdout
    assert int(found[1]) >= MIN_CASES
    # It got through to what is behind the checks.
    assert asked(har) >= {
        ("GET", f"/api/v1/streams/{STREAM}/snapshot", 200),
        ("PUT", f"/api/v1/streams/{STREAM}/recording", 200),
        ("PUT", f"/api/v1/streams/{SPARE}", 201),
        ("DELETE", f"/api/v1/streams/{SPARE}", 200),
        ("POST", "/api/v1/depth", 200),
        ("POST", "/api/v1/depth", 422),
        ("POST", f"/whep/{STREAM}", 201),
    }
    # And it has not been brought down.
    assert " ERROR " not in site.log, site.log
    assert site.get("/healthz").status == 200
    assert site.state(STREAM) == "running"
