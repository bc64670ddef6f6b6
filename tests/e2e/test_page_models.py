"""The list of models in the page: by keyboard, under a stream that plays on."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.conftest import Shared, StartDaemon
from tests.e2e.processes import Daemon
from tests.e2e.test_browser import watch
from tests.support.waiting import until_async

SOURCE = "lavfi:testsrc2=size=320x180:rate=10"


@pytest.fixture(scope="module")
def mine(module_daemon: StartDaemon, midas_small: Shared) -> Daemon:
    return module_daemon(SOURCE, model="midas_small").until_ready()


@pytest.fixture(scope="module")
def theirs(module_daemon: StartDaemon) -> Daemon:
    """Everybody may look, and change nothing."""
    tokens = {"ALLOW_ANONYMOUS": "true", "CONTROL_TOKENS": '["change-it-all"]'}
    return module_daemon(SOURCE, **{f"STREAMD_SERVER__{key}": value for key, value in tokens.items()}).until_ready()


async def test_another_model_is_chosen_by_keyboard_while_the_stream_plays(mine: Daemon, artefacts: Path) -> None:
    async with watch(mine.url) as watched:
        page = watched.page
        await until_async("it plays", watched.time)
        await page.keyboard.press("m")
        lines = page.locator("#model-list li")
        await until_async("the list is there", lambda: lines.count())
        midas, embedded = (page.locator(f"[data-model={name}]") for name in ("midas_small", "embedded"))
        assert await midas.get_attribute("aria-current") == "true"
        assert "MIT · " in await midas.inner_text()
        assert "built in" in await embedded.inner_text()
        await page.screenshot(path=artefacts / "models.png")
        use = page.get_by_role("button", name="Use: streamd embedded (coarse)")
        await use.focus()
        await page.keyboard.press("Enter")
        await until_async("it is in use", lambda: page.locator("[data-model=embedded][aria-current=true]").count())
        assert await page.evaluate("document.activeElement.className") == "use", "the focus stays where it was"
        await until_async(
            "it says so",
            lambda: page.get_by_test_id("models-note").get_by_text("streamd embedded (coarse) runs.").count(),
        )
        await page.keyboard.press("Escape")
        await watched.plays_on(0.3)
        assert "embedded" in await page.locator("#model").inner_text()
        assert len(watched.sessions) == 1, "the viewer was connected again"
        await page.screenshot(path=artefacts / "models-after.png")


async def test_who_may_only_look_chooses_nothing(theirs: Daemon) -> None:
    async with watch(theirs.url) as watched:
        page = watched.page
        await until_async("it plays", watched.time)
        await page.get_by_test_id("models").click()
        await until_async("the list is there", lambda: page.locator("#model-list li").count())
        assert await page.locator(".use:visible").all_inner_texts() == ["In use"]
        assert await page.locator(".fetch:visible").count() == 0
