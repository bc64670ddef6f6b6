"""Debian's Firefox, asked over WebDriver BiDi (w3.org/TR/webdriver-bidi): Playwright takes only one of its own."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.ports import free_port
from tests.support.waiting import until_async, wait_for

PROGRAM = shutil.which("firefox-esr") or shutil.which("firefox")
CLOSES_S = 10.0
PREFERENCES = {
    # Whatever it asks of the world by itself ends here.
    "network.proxy.type": 1,
    "network.proxy.http": "127.0.0.1",
    "network.proxy.http_port": 9,
    "network.proxy.ssl": "127.0.0.1",
    "network.proxy.ssl_port": 9,
    "app.update.enabled": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "media.autoplay.default": 0,
    # On a machine without a network of its own there is no other address.
    "media.peerconnection.ice.loopback": True,
}

needs_firefox = pytest.mark.skipif(
    PROGRAM is None, reason="FIREFOX IS NOT TESTED: install firefox-esr (`make test` does)"
)


class Firefox:
    """One page."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = count()
        self._page = ""
        self.page_errors: list[str] = []
        """Errors and warnings of the page's console, exceptions among them."""

    async def start(self) -> None:
        await self._do("session.new", capabilities={})
        await self._do("session.subscribe", events=["log.entryAdded"])
        self._page = (await self._do("browsingContext.getTree"))["contexts"][0]["context"]

    async def goto(self, url: str) -> None:
        await self._do("browsingContext.navigate", context=self._page, url=url, wait="complete")

    async def evaluate(self, function: str, given: Any = None) -> Any:
        """What the JavaScript function returns, as Playwright's does: JSON in and out."""
        expression = f"Promise.resolve(({function})({json.dumps(given)})).then(JSON.stringify)"
        target = {"context": self._page}
        answer = await self._do("script.evaluate", expression=expression, target=target, awaitPromise=True)
        assert answer["type"] == "success", answer["exceptionDetails"]["text"]
        return json.loads(answer["result"].get("value", "null"))

    async def screenshot(self) -> bytes:
        """PNG."""
        shot = await self._do("browsingContext.captureScreenshot", context=self._page)
        return base64.b64decode(shot["data"])

    async def _do(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        await self._socket.send_json({"id": number, "method": method, "params": parameters})
        while True:
            message = await self._socket.receive_json()
            if message.get("method") == "log.entryAdded" and message["params"]["level"] in ("warn", "error"):
                self.page_errors.append(message["params"]["text"])
            if message.get("id") == number:
                assert message["type"] == "success", message
                result: dict[str, Any] = message["result"]
                return result


@asynccontextmanager
async def firefox(folder: Path) -> AsyncIterator[Firefox]:
    """Ends with the context, as when somebody closes the window. ``folder`` takes its profile."""
    assert PROGRAM is not None
    lines = [f"user_pref({json.dumps(name)}, {json.dumps(value)});" for name, value in PREFERENCES.items()]
    (folder / "user.js").write_text("\n".join(lines))
    port = free_port()
    with (folder / "firefox.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(PROGRAM, "--headless", "--no-remote", "--profile", str(folder), "--remote-debugging-port", str(port)),
            env={**os.environ, "HOME": str(folder), "MOZ_HEADLESS_WIDTH": "1280", "MOZ_HEADLESS_HEIGHT": "800"},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        async with aiohttp.ClientSession() as client:

            async def connected() -> aiohttp.ClientWebSocketResponse | None:
                assert process.returncode is None, (folder / "firefox.log").read_text()
                try:
                    return await client.ws_connect(f"ws://127.0.0.1:{port}/session", max_msg_size=0)
                except aiohttp.ClientError:
                    return None

            socket = await until_async("Firefox listens", connected)
            assert socket is not None
            page = Firefox(socket)
            await page.start()
            yield page
    finally:
        if process.returncode is None:
            process.terminate()
        try:
            await wait_for(process.wait(), CLOSES_S)
        except TimeoutError:
            process.kill()
            await process.wait()
