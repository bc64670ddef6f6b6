"""The service under a real systemd: installed, ready, reloaded, killed, hung, stopped, gone.

One machine for all tests, in the order in which they stand here. It has no internet: environments find what streamd
needs in the one that runs these tests.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from streamd.installer import unit as units
from tests.e2e.conftest import Shared
from tests.e2e.machine import REPOSITORY, Machine, boot, missing
from tests.e2e.service import PYTHON_OF_THIS_TEST, START_S, WATCHDOG_S, Service, prepare
from tests.e2e.test_recording import probe, segments
from tests.support.waiting import scaled, until

SYSTEMD = REPOSITORY / "systemd"
EXPOSURE = 1.8
BACK_S = 10.0
STOP_S = 5.0
needs_analyze = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
needs_machine = pytest.mark.skipif(bool(missing()), reason=missing())


# -- the unit, without a boot -----------------------------------------------------------------


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["systemd-analyze", "--no-pager", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=scaled(60), check=False)


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """As it is installed, with a Python that exists."""
    file = tmp_path / "streamd.service"
    file.write_text(units.render((SYSTEMD / "streamd.service").read_text(), Path(sys.prefix), None))
    return file


@needs_analyze
def test_the_unit_is_understood(unit: Path) -> None:
    done = analyze("verify", str(unit))
    assert (done.returncode, done.stderr) == (0, ""), "an unknown key is reported on stderr only"


@needs_analyze
def test_the_examples_are_understood(unit: Path) -> None:
    drop_in = unit.with_name("streamd.service.d") / "limits.conf"
    drop_in.parent.mkdir()
    example = (SYSTEMD / "limits.conf").read_text()
    drop_in.write_text(re.sub(r"^#([A-Z]\w+=)", r"\1", example, flags=re.MULTILINE))
    assert drop_in.read_text() != example
    done = analyze("verify", str(unit))
    assert (done.returncode, done.stderr) == (0, "")


@needs_analyze
def test_the_sandbox_is_tight(unit: Path) -> None:
    done = analyze("security", "--offline=true", f"--threshold={EXPOSURE * 10:.0f}", str(unit))
    found = re.search(r"exposure level for streamd\.service: ([0-9.]+)", done.stdout)
    assert found, done.stdout + done.stderr
    assert float(found[1]) <= EXPOSURE, done.stdout
    assert done.returncode == 0


# -- a machine --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with boot(tmp_path_factory.mktemp("machine")) as machine:
        yield machine


@pytest.fixture(scope="module")
def service(machine: Machine, shared: Shared) -> Service:
    return prepare(machine, shared.cache)


@pytest.fixture(scope="module")
def before(machine: Machine, service: Service) -> set[str]:
    """What the machine differs in before anything is installed."""
    return machine.changed()


@pytest.fixture
def running(service: Service) -> Service:
    """However the test before has left it."""
    if service.show("ActiveState") != "active":
        service.machine.run("systemctl", "reset-failed", "streamd", check=False)
        service.machine.run("systemctl", "start", "streamd", within_s=START_S)
    until("it serves", service.serves, START_S)
    return service


@needs_machine
@pytest.mark.timeout(300)
def test_installed_and_ready_with_the_first_depth_frame(service: Service, before: set[str]) -> None:
    output = service.installer("install", "--python", PYTHON_OF_THIS_TEST)
    assert service.stream("demo")["latency_ms"]["p50"] is not None, "READY=1 came before a depth frame did"
    assert f"page: http://127.0.0.1:{service.port}/" in output
    assert "configuration: /etc/streamd/streamd.toml, kept as it is" in output
    assert re.search(r"^status: 1 stream: 1 running; \d+ fps; model embedded ", output, re.MULTILINE)
    assert (service.show("ActiveState"), service.show("UnitFileState")) == ("active", "enabled")
    assert "enabled at boot" in service.installer("status")


@needs_machine
def test_installing_again_leaves_it_running(running: Service) -> None:
    pid = running.pid
    output = running.installer("install", "--python", PYTHON_OF_THIS_TEST)
    assert re.search(r"^environment: /opt/streamd/versions/0\.1\.0-\w{8}, up to date$", output, re.MULTILINE)
    assert "running already, nothing has changed" in output
    output = running.machine.run("/usr/local/bin/streamd", "service", "install")
    assert re.search(
        r"^environment: /opt/streamd/versions/0\.1\.0-\w{8}, which runs this command$", output, re.MULTILINE
    )
    assert "running already, nothing has changed" in output
    assert running.pid == pid


@needs_machine
def test_the_sandbox_lets_the_network_compile(running: Service) -> None:
    facts = dict(re.findall(r"^(\w+):\s+(.*)$", Path(f"/proc/{running.pid}/status").read_text(), re.MULTILINE))
    assert facts["Uid"].split()[0] != "0"
    assert (facts["NoNewPrivs"], facts["Seccomp"], int(facts["CapBnd"], 16)) == ("1", "2", 0)
    picture = np.frombuffer(running.get("/api/v1/streams/demo/snapshot?view=depth&format=png16"), np.uint8)
    depth = cv2.imdecode(picture, cv2.IMREAD_UNCHANGED)
    assert depth is not None
    assert depth.dtype == np.uint16
    assert depth.std() > 1000, "the network gives no depth"
    home = running.machine.disk / "var/cache/private/streamd"
    assert any(home.glob("blobs/**/*.blob")), "the compiled network was not kept"


@needs_machine
def test_a_camera_can_be_opened_in_the_sandbox(running: Service) -> None:
    """There is no driver here. "No such device" is the kernel's word after all permissions are passed."""
    group = int(running.machine.run("getent", "group", "video").split(":")[2])
    for number, mode in ((60, 0o660), (61, 0o600)):
        node = running.machine.live(f"/dev/video{number}")
        os.mknod(node, stat.S_IFCHR | mode, os.makedev(81, number))
        os.chown(node, 0, group)
        node.chmod(mode)
    running.configure(*(f'[streams.camera{number}]\nsource = "/dev/video{number}"' for number in (60, 61)))
    running.machine.run("systemctl", "reload", "streamd")

    def reasons() -> list[str]:
        reported = [running.reason(f"camera{number}") for number in (60, 61)]
        return reported if all(reported) else []

    allowed, forbidden = until("both are tried", reasons)
    assert "ermission" not in allowed, allowed
    assert "ermission" in forbidden, "the control: this one is root's"
    assert set(running.show("DeviceAllow").split("\n")) == {"char-81 rw", "char-226 rw"}
    running.configure()
    running.machine.run("systemctl", "reload", "streamd")


@needs_machine
def test_secrets_reach_the_service_and_nobody_else(running: Service) -> None:
    door, gate = (
        f'[streams.{name}]\nsource = "rtsp://me:file:secret_{name}@127.0.0.1:9/"' for name in ("door", "gate")
    )
    running.configure(door, gate)
    running.machine.run("systemctl", "reload", "streamd")
    reason = until("the camera was tried", lambda: running.reason("door"))
    assert "password" not in reason, reason
    reason = until("the control: there is no such secret", lambda: running.reason("gate"))
    assert "cannot read its password" in reason
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    for place in ("/etc/streamd/secrets/door", "/run/credentials/streamd.service/secret_door"):
        assert running.machine.run("cat", place) == "the password\n"
        assert "Permission denied" in running.machine.run(*nobody, "cat", place, check=False)
    running.configure()
    running.machine.run("systemctl", "reload", "streamd")


def recipe(beginning: str) -> list[str]:
    """The fenced blocks of that part of docs/install.md."""
    text = (REPOSITORY / "docs/install.md").read_text().partition(beginning)[2].partition("\n**")[0]
    return re.findall(r"^```\w*\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


@needs_machine
def test_the_recipe_for_watching_from_other_machines(running: Service) -> None:
    commands, settings = recipe("**Watching from other machines**")
    running.machine.write("/usr/local/bin/sudo", '#!/bin/sh\nexec "$@"\n', 0o755)
    running.machine.run("sh", "-e", "-c", commands)
    listen = settings.replace("0.0.0.0:8080", f"0.0.0.0:{running.port}").partition("[server]\n")[2]
    running.configure(server=listen)
    running.machine.run("systemctl", "restart", "streamd", within_s=START_S)
    view, control = (running.machine.run("cat", f"/etc/streamd/secrets/{name}").strip() for name in ("view", "control"))
    assert len({view, control}) == 2
    for token, view_status, change in (("", 401, 401), (view, 200, 403), (control, 200, 201)):
        assert running.ask("GET", "/api/v1/streams", token) == view_status
        assert running.ask("PUT", "/api/v1/streams/more", token, b'{"source": "demo:", "mode": "on_demand"}') == change
    assert running.ask("DELETE", "/api/v1/streams/more", control) in (200, 204)
    running.configure()
    for path in ("/usr/local/bin/sudo", "/etc/streamd/secrets/view", "/etc/streamd/secrets/control"):
        (running.machine.disk / path.lstrip("/")).unlink()
    running.machine.run("systemctl", "restart", "streamd", within_s=START_S)


@needs_machine
def test_reload_keeps_viewers_and_a_bad_one_changes_nothing(running: Service) -> None:
    pid = running.pid
    with running.watched() as viewer:
        assert viewer.sees()
        running.configure('[streams.more]\nsource = "demo:"\nmode = "on_demand"')
        running.machine.run("systemctl", "reload", "streamd")
        until("the new stream is there", lambda: b'"more"' in running.get("/api/v1/streams"))
        assert viewer.sees()
        running.configure("[streams.more]\nsuorce = 1")
        running.machine.run("systemctl", "reload", "streamd")
        until("it is reported", lambda: "the changed configuration is bad" in running.show("StatusText"))
        assert viewer.sees()
        running.configure()
        running.machine.run("systemctl", "reload", "streamd")
        until("all is well", lambda: running.show("StatusText").startswith("1 stream: 1 running; "))
        assert viewer.sees()
    assert running.show("ActiveState") == "active"
    assert running.pid == pid


@needs_machine
def test_killed_it_is_back(running: Service) -> None:
    restarts = int(running.show("NRestarts"))
    os.kill(running.pid, signal.SIGKILL)
    killed_at = time.monotonic()
    until("it has gone", lambda: not running.serves())
    until("it serves again", running.serves, BACK_S - (time.monotonic() - killed_at))
    assert int(running.show("NRestarts")) == restarts + 1


@needs_machine
def test_hung_it_is_started_again(running: Service) -> None:
    pid, restarts = running.pid, int(running.show("NRestarts"))
    os.kill(pid, signal.SIGSTOP)
    until("systemd has had enough", lambda: int(running.show("NRestarts")) > restarts, WATCHDOG_S + BACK_S)
    until("it serves again", running.serves, START_S)
    journal = running.journal()
    assert f"Watchdog timeout (limit {WATCHDOG_S}s)!" in journal
    assert "Fatal Python error: Aborted" in journal, "where its threads were is in the journal"


@needs_machine
def test_stops_in_time_with_the_last_segment_whole(running: Service) -> None:
    folder = running.machine.disk / "var/lib/private/streamd/recordings"
    before = set(segments(folder))
    pid = running.pid
    until("something is recorded", lambda: set(segments(folder)))
    began = time.monotonic()
    running.machine.run("systemctl", "stop", "streamd")
    assert time.monotonic() - began < STOP_S
    assert running.show("Result") == "success"
    assert not Path(f"/proc/{pid}").exists()
    newest = max(segments(folder), key=lambda file: file.stat().st_mtime)
    assert newest in before | set(segments(folder))
    assert probe(newest).frames > 0


@needs_machine
def test_a_bad_configuration_is_not_tried_again(running: Service) -> None:
    running.configure("[nonsense]")
    running.machine.run("systemctl", "restart", "streamd", check=False)
    assert (running.show("ActiveState"), running.show("ExecMainStatus")) == ("failed", "78")
    running.configure()


@needs_machine
def test_uninstalled_nothing_is_left(running: Service, before: set[str]) -> None:
    kept = running.installer("uninstall")
    assert "kept /etc/streamd and /var/lib/streamd" in kept
    assert (running.machine.disk / "etc/streamd/streamd.toml").exists()
    assert segments(running.machine.disk / "var/lib/private/streamd/recordings")
    assert running.show("LoadState") == "not-found"
    running.installer("uninstall", "--purge")
    left = {path for path in running.machine.changed() - before if running.machine.has_more(path)}
    systemds = {"var/lib/private", "var/log/journal", "var/lib/systemd"}
    assert {path for path in left if "streamd" in path or not any(path.startswith(own) for own in systemds)} == set()
