"""Times and spans of requests."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from aiohttp.test_utils import make_mocked_request

from streamd.sinks.recording.store import Filter
from streamd.web.errors import Refusal
from streamd.web.recorded_span import moment, read_filter, read_span, rfc3339

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-25T12:00:00Z",
        "2026-11-25T13:00:00+01:00",
        "2026-11-25T13:00:00 01:00",
        "2026-11-25 12:00:00Z",
        "2026-11-25T12:00:00",
        "2026-11-25T12:00:00.000000Z",
        "2026-11-25t06:30:00-05:30",
        "2026-11-25t12:00:00z",
    ],
)
def test_a_time(text: str) -> None:
    assert moment("from", text) == NOON


@pytest.mark.parametrize(
    "text", ["", "noon", "12:00", "2026-13-01T00:00:00Z", "0001-01-01T00:00:00+14:00x", "\0", "9" * 300]
)
def test_what_is_none(text: str) -> None:
    with pytest.raises(Refusal, match="should be a time such as") as refused:
        moment("from", text)
    assert refused.value.status == 422
    assert len(refused.value.message) < 200


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00+14:00"])
def test_the_ends_of_time(text: str) -> None:
    """They are asked for as no limit."""
    filter = Filter(from_s=moment("from", text), to_s=moment("to", text))
    assert filter.sql()


def test_it_is_written_as_it_is_read() -> None:
    assert rfc3339(NOON + 0.0304) == "2026-11-25T12:00:00.030Z"
    assert (rfc3339(-1e12), rfc3339(1e12)) == ("0001-01-01T00:00:00.000Z", "9999-12-31T23:59:59.000Z")


def request(query: str) -> Any:
    return make_mocked_request("GET", f"/api/v1/recordings?{query}")


def test_a_span_needs_all_but_the_view() -> None:
    span = read_span(request("stream=porch&from=2026-11-25T12:00:00Z&to=2026-11-25T12:01:00Z"))
    assert span == ("porch", None, NOON, NOON + 60)
    for missing in ("from=2026-11-25T12:00:00Z&to=2026-11-25T12:01:00Z", "stream=porch&to=2026-11-25T12:01:00Z"):
        with pytest.raises(Refusal, match="is missing"):
            read_span(request(missing))


def test_filters() -> None:
    assert read_filter(request("")) == Filter()
    assert read_filter(request("view=depth16&stream=a")) == Filter("a", "depth16")
    with pytest.raises(Refusal, match="view x: unknown"):
        read_filter(request("view=x"))
    with pytest.raises(Refusal, match="earlier than to"):
        read_filter(request("from=2026-11-25T12:00:00Z&to=2026-11-25T12:00:00Z"))
