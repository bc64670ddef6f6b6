from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator

import pytest
from aiohttp import web
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

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


async def test_a_scrape_that_hangs_does_not_hold_up_the_end() -> None:
    hangs, go_on = threading.Event(), threading.Event()

    class Hanging(Collector):
        def collect(self) -> Iterator[Metric]:
            hangs.set()
            go_on.wait(30)
            yield from ()

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Hanging())
    hanging = Exposition(registry)
    scrape = asyncio.create_task(hanging.answer(""))
    try:
        await asyncio.wait_for(asyncio.to_thread(hangs.wait, 5), 10)
        await asyncio.wait_for(hanging.clean_up(web.Application()), 15)
        assert not scrape.done()
    finally:
        go_on.set()
        await scrape


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
