"""configs/prometheus: what promtool says of it, and whether a person who is woken learns what to do."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from streamd.config.sections import Config
from tests.support.monitoring import RULES, needs_prometheus, promtool

RULE_FILES = ("recording_rules.yml", "alert_rules.yml")
SETTING = re.compile(r"\b(server|webrtc|model|recording)\.(\w+)")


def rules(name: str) -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load((RULES / name).read_text())["groups"] for rule in group["rules"]]


ALERTS = {rule["alert"]: rule for rule in rules("alert_rules.yml")}


@needs_prometheus
def test_promtool_accepts_configuration_and_rules() -> None:
    promtool("check", "config", RULES / "prometheus.yml")
    promtool("check", "rules", *(RULES / name for name in RULE_FILES))


@needs_prometheus
def test_rules_pass_their_tests() -> None:
    promtool("test", "rules", RULES / "rules_test.yml")


def test_recorded_names_hold_level_metric_and_operations() -> None:
    for rule in rules("recording_rules.yml"):
        assert re.fullmatch(r"(stream|stream_stage|stream_reason|instance):streamd_\w+:\w+", rule["record"])


@pytest.mark.parametrize("alert", ALERTS.values(), ids=ALERTS.keys())
def test_an_alert_has_a_runbook(alert: dict[str, Any]) -> None:
    assert alert["alert"].startswith("Streamd")
    assert alert["labels"].keys() == {"severity"}
    assert alert["labels"]["severity"] in ("critical", "warning")
    assert alert["annotations"].keys() == {"summary", "description", "runbook"}
    for section, key in SETTING.findall(" ".join(alert["annotations"].values())):
        assert key in type(getattr(Config(), section)).model_fields, f"{section}.{key} is no setting"


@pytest.mark.parametrize("name", ALERTS)
def test_an_alert_is_seen_to_fire_and_not_to_fire(name: str) -> None:
    """In one test of rules_test.yml at least, where it fires for one and not for another or not yet."""
    [about, *_] = [
        test for test in yaml.safe_load((RULES / "rules_test.yml").read_text())["tests"] if name in test["name"]
    ]
    seen = [expected["exp_samples"] for expected in about["promql_expr_test"]]
    assert any(f'alertname="{name}"' in sample["labels"] for samples in seen for sample in samples)
    assert any(f'alertname="{name}"' not in str(samples) for samples in seen)
