from __future__ import annotations

import math

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics

from streamd.states import SkipReason, StreamState
from streamd.telemetry.metrics import Metrics
from streamd.web.exposition import Exposition


@pytest.fixture
def metrics() -> Metrics:
    metrics = Metrics()
    for name in ("porch", "yard-2"):
        stream = metrics.of_stream(name)
        stream.capture()
        stream.skipped(SkipReason.SUPERSEDED)
        stream.capture_to_publish.observe(0.033)
        stream.stages["infer"].observe(7.0)
        stream.state(StreamState.RUNNING)
    metrics.show_model("midas_small", "openvino", "bf16", "ab" * 32)
    metrics.build.info({"version": "1.2.3"})
    return metrics


def test_it_is_what_the_library_writes_to_the_byte(metrics: Metrics) -> None:
    exposition = Exposition(metrics.registry)
    for _ in range(2):  # made, and remembered
        # The process's own numbers change while we look.
        ours, theirs = (
            [line for line in text.splitlines() if not line.startswith("process_")]
            for text in (exposition.write(openmetrics=False), generate_latest(metrics.registry).decode())
        )
        assert ours == theirs
        ours, theirs = (
            [line for line in text.splitlines() if not line.startswith("process_")]
            for text in (exposition.write(openmetrics=True), generate_openmetrics(metrics.registry).decode())  # type: ignore[no-untyped-call]
        )
        assert ours == theirs


def test_odd_values_and_labels() -> None:
    registry = CollectorRegistry()
    gauge = Gauge("odd", 'Help with "quotes", \\ and\nlines.', ["b", "a"], registry=registry)
    for number, value in enumerate((math.nan, math.inf, -math.inf, 1e300, 0.1, 12345678901234567890.0)):
        gauge.labels(f'"{number}"\\\n', "ä").set(value)
    Counter("count", "Help.", registry=registry).inc(3)
    exposition = Exposition(registry)
    assert exposition.write(openmetrics=False) == generate_latest(registry).decode()
    assert exposition.write(openmetrics=True) == generate_openmetrics(registry).decode()  # type: ignore[no-untyped-call]


def test_a_stream_that_has_gone_is_forgotten(metrics: Metrics) -> None:
    exposition = Exposition(metrics.registry)
    exposition.write(openmetrics=False)
    metrics.forget("porch")
    assert "porch" not in exposition.write(openmetrics=False)
    assert not [key for key in exposition._heads if "porch" in key]


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", "text/plain"),
        ("text/html", "text/plain"),
        ("application/openmetrics-text;version=1.0.0,text/plain;q=0.5", "application/openmetrics-text"),
    ],
)
def test_the_format_is_what_is_asked_for(metrics: Metrics, accept: str, kind: str) -> None:
    body, content_type = Exposition(metrics.registry).answer(accept)
    assert content_type.startswith(kind)
    assert body.endswith(b"# EOF\n") == (kind != "text/plain")
