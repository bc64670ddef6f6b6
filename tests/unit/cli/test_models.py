"""`streamd models`."""

from __future__ import annotations

import pytest

from streamd.depth.models import MODELS
from streamd.depth.store import ModelStore, Receipt
from tests.support.commands import outcome

pytestmark = pytest.mark.usefixtures("logging_restored")


def test_models_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert outcome("models", "list") == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert list(lines) == list(MODELS)
    assert "missing: streamd models fetch midas_small" in lines["midas_small"]
    assert " Apache-2.0 " in lines["depth_anything_v2_small"]
    assert "; from https://" in lines["depth_anything_v2_small"]
    assert " non-commercial " in lines["leres_resnet50"]
    assert "streamd models import leres_resnet50 FILE, which is res50.pth of" in lines["leres_resnet50"]
    assert "built in" in lines["embedded"]


def test_who_fetches_is_told_of_the_licence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    installed = Receipt("zipdepth.pth", "ab12", 27_000_000, "", "", True)
    monkeypatch.setattr(ModelStore, "fetch", lambda *_: installed)
    assert outcome("models", "fetch", "zipdepth") == 0
    output = capsys.readouterr()
    assert "distilled from Depth Anything V2 Large, whose weights are CC-BY-NC-4.0" in output.err
    assert output.out == "zipdepth: 27.0 MB, sha256 ab12\n"


def test_who_imports_is_told_of_the_licence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    installed = Receipt("res101.pth", "ab12", 531_000_000, "", "", True)
    monkeypatch.setattr(ModelStore, "import_file", lambda *_: installed)
    assert outcome("models", "import", "leres_resnext101", "res101.pth") == 0
    output = capsys.readouterr()
    assert "for non-commercial use only, not to be passed on" in output.err
    assert output.out == "leres_resnext101: 531.0 MB, sha256 ab12 (the official file)\n"
