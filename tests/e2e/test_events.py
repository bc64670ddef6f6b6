"""Zones from end to end: drawn live in the page, told by the API, a metric, a command and a signed webhook."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
from pathlib import Path
from typing import Any

from tests.e2e.conftest import StartDaemon
from tests.e2e.processes import Daemon
from tests.e2e.test_browser import watch
from tests.e2e.test_page_grid import FIT, PHONE
from tests.support.receiver import Receiver, receiving
from tests.support.settings import write_settings
from tests.support.waiting import until, until_async

KEY = b"0123456789abcdef"
SECRET = "whsec_" + base64.b64encode(KEY).decode()
LEFT = [[0.05, 0.1], [0.45, 0.1], [0.45, 0.9], [0.05, 0.9]]
RIGHT = [[0.55, 0.3], [0.95, 0.3], [0.95, 0.9]]
# A clock is near somewhere in the left half; all of the right one is never.
ZONES = f"""[
  {{ name = "Front door", polygon = {LEFT}, near = 0.1, hold_s = 0.2 }},
  {{ name = "wall", polygon = {RIGHT}, near = 0.99, min_area = 1 }},
  {{ name = "gate", polygon = [[0.5, 0.05], [0.9, 0.05], [0.9, 0.2]], metres = 1.5 }},
]"""


def settings(folder: Path, webhook: str) -> Path:
    told = folder / "told"
    hooks: dict[str, Any] = {
        "command": ["/bin/sh", "-c", f'echo "$1 $STREAMD_KIND $(cat)" >> {told}', "sh", "{stream}/{zone}"],
        "webhook": webhook,
        "webhook_secret": SECRET,
    }
    file = write_settings(
        folder / "streamd.toml", {"porch": {"source": "lavfi:testsrc2=size=640x360:rate=10"}}, hooks=hooks
    )
    file.write_text(file.read_text() + f"zones = {ZONES}\n")
    return file


async def test_a_zone_is_drawn_and_told_everywhere(daemon: StartDaemon, tmp_path: Path, artefacts: Path) -> None:
    with receiving() as receiver:
        running = await asyncio.to_thread(daemon, "--config", settings(tmp_path, receiver.url))

        async with watch(running.url) as watched:
            page = watched.page
            await until_async("it plays", watched.time)
            await page.locator("svg.zones g[data-zone='Front door'][data-state=near]").wait_for(state="attached")
            await page.locator("svg.zones g[data-zone=wall][data-state=clear]").wait_for(state="attached")
            await page.locator("svg.zones g[data-zone=gate][data-state=off]").wait_for(state="attached")
            label = await page.locator("[data-testid=zones]:visible").get_attribute("aria-label")
            assert label == "Front door: near, wall, gate: off"
            # Where the picture is: its left edge is that of the video, without the bars beside it.
            places = await page.evaluate(
                """() => {
                    const box = document.querySelector('.large video').getBoundingClientRect();
                    const scale = Math.min(box.width / 640, box.height / 360);
                    const left = box.left + (box.width - 640 * scale) / 2;
                    const zone = document.querySelector(".large [data-zone='Front door'] polygon");
                    const drawn = zone.getBoundingClientRect();
                    return [drawn.left - left - 0.05 * 640 * scale, drawn.width - 0.4 * 640 * scale];
                }"""
            )
            assert all(abs(place) < 2 for place in places), places
            await page.screenshot(path=artefacts / "zones.png")
            await page.keyboard.press("z")
            await page.locator("svg.zones").first.wait_for(state="hidden")
            await page.locator("[data-testid=zones-toggle]").click()
            await page.locator("[data-testid=zones]:visible").wait_for()
            await page.locator("[data-testid=view-side-by-side]").click()
            await until_async("it is in both", lambda: both(page))
            await page.screenshot(path=artefacts / "zones-side-by-side.png")

        async with watch(running.url, **PHONE) as watched:
            await until_async("it plays", watched.time)
            await watched.page.locator("[data-testid=zones]:visible").wait_for()
            assert await watched.page.evaluate(FIT)
            await watched.page.screenshot(path=artefacts / "zones-phone.png")

        await asyncio.to_thread(is_told_everywhere, running, receiver, tmp_path / "told")


def is_told_everywhere(running: Daemon, receiver: Receiver, told: Path) -> None:
    until("the webhook has both", lambda: len(receiver.came) >= 2)
    types = {json.loads(body)["type"] for _, _, body in receiver.came}
    assert types == {"stream.running", "zone.near"}
    for _, headers, body in receiver.came:
        signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + body
        expected = base64.b64encode(hmac.digest(KEY, signed, "sha256")).decode()
        assert headers["webhook-signature"] == f"v1,{expected}"
    until("the command ran", lambda: "porch/Front door near" in told.read_text())

    near, wall, gate = running.stream("porch")["zones"]
    assert (near["state"], wall["state"], gate["state"]) == ("near", "clear", "clear")
    assert "not calibrated" in gate["problem"]
    assert running.metrics().value("streamd_events_total", stream="porch", zone="Front door", kind="near") == 1
    assert running.metrics().value("streamd_events_total", stream="porch", zone="wall", kind="near") == 0
    shown = json.dumps([running.stream("porch"), running.get("/openapi.json").text])
    assert receiver.url not in shown
    assert SECRET not in shown
    assert SECRET not in running.log


async def both(page: Any) -> bool:
    return bool(await page.locator(".large [data-zone=wall]").count() == 2)
