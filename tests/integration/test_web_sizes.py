"""Whatever is sent, however long: answered soon, and with less."""

from __future__ import annotations

import gc
import json
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from streamd.config.sections import StreamConfig
from streamd.web.app import ROUTES
from tests.integration.web_site import Reply, Site, served

pytestmark = pytest.mark.timeout(100)

LONG = 100_000
MAX_CPU_S = 0.2
"""Of this thread, which serves and asks, so that a busy box is no reason to fail; the loop is held for less."""
MAX_ANSWER = 16_000
TEXTS = {
    "plain": "a",
    "passwords": "_pw",
    "keys": "password=",
    "url": "rtsp://user:secret@host/",
    "schemes": "://",
    "at": "@",
    "colons": ":",
    "slashes": "/",
    "spaces": " ",
    "lines": "\n",
    "wide": "\N{GRINNING FACE}",
    "backslashes": "\\",
    "queries": "?a=b&",
    "brackets": "[",
}


@pytest.fixture(scope="module", autouse=True)
def small_heap() -> Iterator[None]:
    """As the daemon does at its start: else collecting the test's own garbage is what takes the time."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture
async def site() -> AsyncIterator[Site]:
    async with served() as site:
        yield site


async def timed(site: Site, method: str, path: str, body: Any) -> Reply:
    text = json.dumps(body, ensure_ascii=False).encode()[: 256 * 1024]
    began = time.thread_time()
    reply = await site.ask(method, path, text, Content_Type="application/json")
    assert time.thread_time() - began < MAX_CPU_S, (method, path)
    assert len(reply.body) < MAX_ANSWER
    return reply


def long(text: str) -> str:
    """No longer in bytes, as JSON."""
    return text * (LONG // len(json.dumps(text, ensure_ascii=False).encode()) + 1)


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("method", ["PUT", "PATCH"])
async def test_a_long_text_in_any_setting(site: Site, method: str, text: str) -> None:
    for key in StreamConfig.model_fields:
        reply = await timed(site, method, "/api/v1/streams/porch", {"source": "demo:", key: long(text)})
        assert reply.error == (422, "bad_value"), key
        assert f"streams.porch.{key}: " in reply.json["error"]["message"]
    reply = await timed(site, method, "/api/v1/streams/porch", {"source": "demo:", long(text): 1})
    assert reply.error == (422, "bad_value")
    assert site.stream().config.source == "rtsp://h/live"


@pytest.mark.parametrize("prefix", ["rtsp://", "rtsp://user:", "http://h/?", "lavfi:", "v4l2:", "/", "file:", "demo:"])
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
async def test_a_long_source_of_each_kind(site: Site, prefix: str, text: str) -> None:
    reply = await timed(site, "PUT", "/api/v1/streams/porch", {"source": prefix + long(text)})
    assert reply.error == (422, "bad_value")


@pytest.mark.parametrize(
    "settings",
    [
        {f"key{number}": 1 for number in range(15_000)},
        {"masks": [[["x", "y"]] * 256] * 64},
        {"masks": [[["x", "y"]] * 20_000]},
        {"masks": [[]] * 50_000},
        {"masks": [[[0, 0]] * 256] * 65},
        {"record": ["depth"] * 20_000},
        {"record": ["x"] * 50_000},
        {"range": [1] * 80_000},
        {"height": int("9" * 4000)},
        {"nested": json.loads("[" * 900 + "]" * 900)},
    ],
    ids=lambda settings: next(iter(settings)),
)
async def test_a_flood_of_faults(site: Site, settings: dict[str, Any]) -> None:
    reply = await timed(site, "PUT", "/api/v1/streams/porch", {"source": "demo:", **settings})
    assert reply.error == (422, "bad_value")


@pytest.mark.parametrize("body", [b"[" * 200_000, b'{"a":' * 50_000, b"9" * 200_000, b'"' + b"\\u0000" * 30_000 + b'"'])
async def test_what_is_hardly_json(site: Site, body: bytes) -> None:
    began = time.thread_time()
    reply = await site.ask("PUT", "/api/v1/streams/porch", body, Content_Type="application/json")
    assert time.thread_time() - began < MAX_CPU_S
    assert reply.status in (400, 422)
    assert len(reply.body) < 1000


@pytest.mark.parametrize("text", ["x", "_pw", "%40", "%3A%2F%2F", "..%2F"])
async def test_long_addresses(site: Site, text: str) -> None:
    """Of every route: a long name, and long values of all parameters."""
    long_text = text * (3500 // len(text))
    for route in ROUTES.routes:
        path = route.path.replace("{path:.+}", "{path}")
        names = [part.partition("}")[0] for part in path.split("{")[1:]]
        for name in names:
            path = path.replace(f"{{{name}}}", long_text)
        query = "&".join(f"{each.name}={long_text}" for each in route.parameters)
        began = time.thread_time()
        async with site.http.request(route.method, f"{site.url}{path}?{query}") as response:
            endless = response.status == 200
            body = b"" if endless else await response.read()
        assert time.thread_time() - began < MAX_CPU_S, path
        assert response.status < 500 or response.status == 503, route
        assert len(body) < 1500, route


@pytest.mark.parametrize(
    ("method", "path"),
    [("PUT", "/api/v1/streams/porch"), ("POST", "/api/v1/depth"), ("POST", "/whep/porch"), ("POST", "/api/v1/session")],
)
async def test_a_long_type(site: Site, method: str, path: str) -> None:
    reply = await site.ask(method, path, b"x", Content_Type=f"text/{'x' * 8000}")
    assert reply.error == (415, "wrong_type")
    assert len(reply.body) < 300
