"""The recipes of the documents are accepted by what they are for."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from streamd.config.load import parse

REPOSITORY = Path(__file__).parents[2]
DOCUMENTS = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
RECIPES = [
    pytest.param(recipe, id=f"{document.name}-{number}")
    for document in DOCUMENTS
    for number, recipe in enumerate(re.findall(r"^```toml\n(.*?)^```$", document.read_text(), re.MULTILINE | re.DOTALL))
    if not recipe.startswith("name = ")  # a network's manifest: integration/test_manifests.py
]


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_configuration_is_valid(recipe: str) -> None:
    parse(tomllib.loads(recipe))


def test_a_recipe_for_the_network_names_who_may_control() -> None:
    for document in DOCUMENTS:
        for recipe in re.findall(r"^```toml\n(.*?)^```$", document.read_text(), re.MULTILINE | re.DOTALL):
            server = tomllib.loads(recipe).get("server", {})
            assert ("view_tokens" in server) <= ("control_tokens" in server), document.name


def test_no_placeholder_stands_in_a_command() -> None:
    text = (REPOSITORY / "docs/install.md").read_text()
    for block in re.findall(r"^```\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        commands = [line.partition("#")[0] for line in block.splitlines() if line.startswith("sudo ")]
        assert not [line for line in commands if re.search(r"\b[A-Z]{3,}\b", line)]
