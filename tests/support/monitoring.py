"""A real Prometheus with streamd's rules, and the queries of the dashboards."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.ports import free_port
from tests.support.waiting import scaled, until

CONFIGS = Path(__file__).parent.parent.parent / "configs"
RULES = CONFIGS / "prometheus"
DASHBOARDS = CONFIGS / "grafana" / "dashboards"
INSTALLED = all(map(shutil.which, ("prometheus", "promtool")))
SCRAPE_S = 1

needs_prometheus = pytest.mark.skipif(
    not INSTALLED, reason="NO MONITORING TEST RUNS: install the Debian package prometheus (`make test` does)"
)


def promtool(*arguments: str | Path, stdin: str = "") -> None:
    """Fails with all that it says when it does not like something."""
    done = subprocess.run(
        ["promtool", *map(str, arguments)], input=stdin, capture_output=True, text=True, timeout=scaled(60), check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "FAILED" not in done.stdout + done.stderr


# -- dashboards -------------------------------------------------------------------------------


@dataclass(frozen=True)
class PanelQuery:
    """An expression of a dashboard, and where it stands."""

    panel: str
    expr: str

    def asked(self, **variables: str) -> str:
        """As Grafana sends it when these are chosen."""
        expr = self.expr.replace("$__rate_interval", f"{4 * SCRAPE_S}s")
        for name, value in variables.items():
            expr = expr.replace(f"${name}", value)
        assert "$" not in expr, f"{self.panel}: unknown variable in {expr}"
        return expr


def dashboards() -> dict[str, dict[str, Any]]:
    return {path.name: json.loads(path.read_text()) for path in sorted(DASHBOARDS.glob("*.json"))}


def panels(dashboard: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Rows too, and what is folded in them."""
    for panel in dashboard["panels"]:
        yield panel
        yield from panel.get("panels", ())


def panel_queries() -> list[PanelQuery]:
    return [
        PanelQuery(f"{name} {panel['id']} {target['refId']}: {panel['title']}", target["expr"])
        for name, dashboard in dashboards().items()
        for panel in panels(dashboard)
        for target in panel.get("targets", ())
    ]


# -- Prometheus -------------------------------------------------------------------------------


class Prometheus:
    """Scrapes each second; asked over its API."""

    def __init__(self, url: str) -> None:
        self.url = url

    def _get(self, path: str, **query: str) -> Any:
        url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                output = json.load(answer)
        except urllib.error.HTTPError as error:
            raise AssertionError(f"{query}: {error.read().decode()}") from None
        assert output["status"] == "success", output
        return output["data"]

    def is_ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/-/ready", timeout=10):
                return True
        except OSError:
            return False

    def ask(self, expr: str) -> list[tuple[dict[str, str], float]]:
        """(labels, value) of each series that has a number."""
        found = [(each["metric"], float(each["value"][1])) for each in self._get("query", query=expr)["result"]]
        return [(labels, value) for labels, value in found if not math.isnan(value)]

    def rules(self, type: str) -> list[dict[str, Any]]:
        """``type`` is record or alert."""
        return [rule for group in self._get("rules", type=type)["groups"] for rule in group["rules"]]

    def alerts(self) -> list[dict[str, Any]]:
        """Those that fire, and those that will if it goes on."""
        alerts: list[dict[str, Any]] = self._get("alerts")["alerts"]
        return alerts


@contextmanager
def prometheus(folder: Path, target: str) -> Iterator[Prometheus]:
    """With the configuration that is shipped, but for the target and its pace. It has scraped once."""
    port, config = free_port(), _config(folder, target)
    command = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}"]
    command += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    running = Prometheus(f"http://127.0.0.1:{port}")
    try:
        until("Prometheus is ready", running.is_ready)
        until("it scrapes streamd", lambda: running.ask('up{job="streamd"} == 1'))
        yield running
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _config(folder: Path, target: str) -> Path:
    """A copy of the shipped folder."""
    config = shutil.copytree(RULES, folder / "prometheus") / "prometheus.yml"
    text = config.read_text()
    for shipped, here in (
        ("scrape_interval: 15s", f"scrape_interval: {SCRAPE_S}s"),
        ("evaluation_interval: 15s", f"evaluation_interval: {SCRAPE_S}s"),
        ('["127.0.0.1:8080"]', f'["{target}"]'),
    ):
        assert text.count(shipped) == 1, shipped
        text = text.replace(shipped, here)
    config.write_text(text)
    return config
