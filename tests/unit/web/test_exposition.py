from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from streamd.states import SkipReason
from streamd.telemetry.metrics import Metrics
from streamd.web.exposition import Exposition


@pytest.fixture
def metrics() -> Metrics:
    metrics = Metrics()
    metrics.of_stream("porch").skipped(SkipReason.SUPERSEDED)
    return metrics


@pytest.fixture
async def exposition(metrics: Metrics) -> AsyncIterator[Exposition]:
    exposition = Exposition(metrics.registry)
    yield exposition
    await exposition.clean_up(web.Application())


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("", "text/plain"),
        ("text/html", "text/plain"),
        ("application/openmetrics-text;version=1.0.0,text/plain;q=0.5", "application/openmetrics-text"),
    ],
)
async def test_the_format_is_what_is_asked_for(exposition: Exposition, accept: str, kind: str) -> None:
    body, content_type = await exposition.answer(accept)
    assert content_type.startswith(kind)
    assert body.endswith(b"# EOF\n") == (kind != "text/plain")


async def test_it_has_the_values_of_now(exposition: Exposition, metrics: Metrics) -> None:
    async def skipped() -> list[float]:
        body, _ = await exposition.answer("")
        families = {family.name: family for family in text_string_to_metric_families(body.decode())}
        return [
            each.value for each in families["streamd_frames_skipped"].samples if each.labels["reason"] == "superseded"
        ]

    assert await skipped() == [1]
    metrics.of_stream("porch").skipped(SkipReason.SUPERSEDED)
    assert await skipped() == [2]
    metrics.forget("porch")
    assert await skipped() == []
