from __future__ import annotations

import os

import pytest

from streamd.errors import StreamdError, UsageError
from streamd.installer.status import page_address, status
from tests.support.installing import Box
from tests.unit.installer.conftest import Code

STATE = [
    "state: active (running) since Wed 2026-11-25 04:32:25 UTC; enabled at boot",
    "status: 1 stream: 1 idle; 0 fps; model embedded bf16",
    "restarts after faults: 2",
    "page: http://127.0.0.1:8080/",
]


def shown(box: Box) -> list[str]:
    box.reports.clear()
    status(box.machine)
    return box.reports


def test_shows_the_version_and_the_one_before(live: Box, code: Code) -> None:
    live.install()
    first = "version: 0.1.0-first000, in /opt/streamd/versions/0.1.0-first000"
    assert shown(live) == [first, *STATE]
    code("second00")
    live.install()
    assert shown(live)[1] == "before it: 0.1.0-first000; `streamd service install --rollback` goes back to it"
    live.fails["import streamd"] = (1, "ModuleNotFoundError: No module named 'streamd'\n")
    assert shown(live)[1].startswith("its environment does not work: ModuleNotFoundError: No module named 'streamd'; ")


def test_one_that_does_not_run_is_an_error(live: Box, code: Code) -> None:
    live.install()
    live.prints["systemctl show"] = "LoadState=loaded\nActiveState=failed\nResult=watchdog\n"
    with pytest.raises(StreamdError, match=r"not running \(watchdog\): journalctl -u streamd -e shows why"):
        status(live.machine)
    live.prints["systemctl show"] = "LoadState=not-found\nActiveState=inactive\n"
    with pytest.raises(StreamdError, match="not installed"):
        status(live.machine)


def test_a_machine_that_does_not_run_has_none(box: Box) -> None:
    with pytest.raises(UsageError, match="does not run"):
        status(box.machine)


@pytest.mark.parametrize(
    ("text", "page"),
    [
        ('[server]\nlisten = "127.0.0.1:9000"', "http://127.0.0.1:9000/"),
        ('[server]\nlisten = "0.0.0.0:8443"\ntls_certificate = "a.pem"', f"https://{os.uname().nodename}:8443/"),
        ("not TOML", "http://127.0.0.1:8080/"),
    ],
)
def test_the_page_is_where_the_configuration_says(box: Box, text: str, page: str) -> None:
    (box.root / "etc/streamd").mkdir()
    (box.root / "etc/streamd/streamd.toml").write_text(text)
    assert page_address(box.machine) == page
