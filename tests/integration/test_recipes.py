"""What docs/ and README tell people to configure and to type does what they say."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest

from streamd.config.load import load
from streamd.config.sections import Config, RecordingConfig
from tests.integration.web_site import CONTROL_TOKEN, VIEW_TOKEN, Site, served
from tests.support.recipes import Recipe, recipes

pytestmark = pytest.mark.timeout(60)

RECIPES = list(recipes())
SETTINGS = [recipe for recipe in RECIPES if recipe.is_settings]
NEEDS_PICTURES = ("/snapshot", "/api/v1/depth")
"""Tried in tests/e2e, where there is a camera and a network."""
COMMANDS = [
    (recipe.document, command)
    for recipe in RECIPES
    for command in recipe.commands
    if not any(path in command for path in NEEDS_PICTURES)
]
SERVERS = {
    ("security.md", "Tokens"): "none view all",
    ("remote-viewing.md", "On the local network"): "none view all",
    ("remote-viewing.md", "Behind a reverse proxy"): "none view all",
    ("remote-viewing.md", "On other pages"): "view - all",
    ("install.md", "Your cameras"): "none view all",
}
"""What those may do who show nothing, a view token, a control token; -: such a token is not configured."""
MAY = {"none": (False, False), "view": (True, False), "all": (True, True), "-": (False, False)}


def named(cases: Iterable[Any]) -> list[str]:
    return [f"{recipe.document}: {recipe.text[:40]!r}" for recipe in cases]


@pytest.fixture(autouse=True)
def secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As systemd hands them over."""
    for name, secret in (("view", VIEW_TOKEN), ("control", CONTROL_TOKEN), ("turn", "turn-me"), ("door", "knock")):
        (tmp_path / f"secret_{name}").write_text(f"{secret}\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))


def configuration(recipe: Recipe, folder: Path) -> Config:
    file = folder / "streamd.toml"
    file.write_text(recipe.text)
    return load(file, environment={})


@pytest.mark.parametrize("recipe", SETTINGS, ids=named(SETTINGS))
def test_every_configuration_is_a_good_one(recipe: Recipe, tmp_path: Path) -> None:
    configuration(recipe, tmp_path)


def test_every_recipe_about_access_is_known_here() -> None:
    about = {(recipe.document, recipe.heading) for recipe in SETTINGS if "tokens" in recipe.text}
    assert about == set(SERVERS)


@pytest.mark.parametrize("recipe", [each for each in SETTINGS if "tokens" in each.text], ids=lambda each: each.document)
async def test_who_may_do_what_with_it(recipe: Recipe, tmp_path: Path) -> None:
    server = configuration(recipe, tmp_path).server
    expected = dict(zip(("", VIEW_TOKEN, CONTROL_TOKEN), SERVERS[recipe.document, recipe.heading].split(), strict=True))
    async with served(**server.model_dump(exclude_unset=True)) as site:
        for token, may in expected.items():
            headers = {"Authorization": f"Bearer {token}"} if token else {}
            read = await site.get("/api/v1/streams", **headers)
            change = await site.ask("DELETE", "/api/v1/streams/nobody", **headers)
            assert (read.status == 200, change.status == 404) == MAY[may], (token, read.status, change.status)


async def typed(site: Site, command: str, folder: Path, *more: str) -> int:
    """The status that curl is answered with."""
    asked = (
        command.partition("|")[0].replace("localhost:8080", site.url.removeprefix("http://")).replace("NAME", "porch")
    )
    words = [*shlex.split(asked), *more, "--silent", "--output", "answer", "--write-out", "%{http_code}"]
    process = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE, cwd=folder)
    out, _ = await process.communicate()
    return int(out)


@pytest.fixture
async def sites(tmp_path: Path) -> AsyncIterator[tuple[Site, Site]]:
    """Without tokens, and with both kinds."""
    recording = RecordingConfig(directory=tmp_path, min_free_gb=0)
    streams: dict[str, dict[str, Any]] = {"porch": {}, "yard": {}}
    tokens = {"view_tokens": [VIEW_TOKEN], "control_tokens": [CONTROL_TOKEN]}
    async with (
        served(recording=recording, streams=streams) as free,
        served(recording=recording, streams=streams, **tokens) as locked,
    ):
        yield free, locked


@pytest.mark.parametrize(("document", "command"), COMMANDS)
async def test_every_command_works(document: str, command: str, sites: tuple[Site, Site], tmp_path: Path) -> None:
    free, locked = sites
    bearer = {token: f"Authorization: Bearer {token}" for token in (VIEW_TOKEN, CONTROL_TOKEN)}
    # Nothing is ready, and nothing recorded, here.
    unready = {"readyz": 503, "/recordings/": 404, "/calibration": 503, "/value": 503}
    good = (200, 201, *(status for part, status in unready.items() if part in command))
    changes, is_open = "-X" in command, "healthz" in command or "readyz" in command
    assert await typed(free, command, tmp_path) in good
    assert await typed(locked, command, tmp_path) in (good if is_open else (401,))
    assert await typed(locked, command, tmp_path, "-H", bearer[VIEW_TOKEN]) in ((403,) if changes else good)
    assert await typed(locked, command, tmp_path, "-H", bearer[CONTROL_TOKEN]) in good
