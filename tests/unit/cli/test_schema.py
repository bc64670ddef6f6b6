"""`streamd schema`."""

from __future__ import annotations

import json

import pytest

from tests.support.commands import outcome

pytestmark = pytest.mark.usefixtures("logging_restored")


def test_schema(capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome("schema") == 0
    assert "[streams.NAME]" in capsys.readouterr().out
    assert outcome("schema", "--json") == 0
    assert json.loads(capsys.readouterr().out)["title"] == "Config"
