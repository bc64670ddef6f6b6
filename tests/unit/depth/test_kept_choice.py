"""The model that the API has chosen, over restarts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from streamd.config.sections import ModelConfig
from streamd.depth.kept_choice import KeptChoice, chosen
from streamd.errors import ConfigError

FILE = ModelConfig(name="midas_small", weights=Path("/own.pt"), input_size=128, threads=2)


def test_a_choice_leaves_what_belongs_to_the_files_own_network() -> None:
    other = chosen(FILE, {"name": "embedded"})
    assert (other.name, other.weights, other.input_size, other.threads) == ("embedded", None, "auto", 2)
    assert chosen(FILE, {"name": "midas_small", "precision": "fp32"}) == FILE.model_copy(update={"precision": "fp32"})
    with pytest.raises(ConfigError, match="precision"):
        chosen(FILE, {"precision": "fp99"})


def test_it_is_kept_until_the_configuration_says_something_else(tmp_path: Path) -> None:
    kept = KeptChoice(tmp_path / "state" / "model.json")
    assert kept.restore(FILE) == FILE
    other = chosen(FILE, {"name": "embedded", "precision": "fp32"})
    kept.keep(other, FILE)
    assert kept.restore(FILE) == other
    assert kept.restore(FILE.model_copy(update={"threads": 1})).name == "embedded"
    changed = FILE.model_copy(update={"precision": "bf16"})
    assert kept.restore(changed) == changed
    kept.forget()
    kept.forget()
    assert kept.restore(FILE) == FILE


def test_what_the_file_says_anyway_is_not_kept(tmp_path: Path) -> None:
    kept = KeptChoice(tmp_path / "model.json")
    kept.keep(chosen(FILE, {"name": "embedded"}), FILE)
    kept.keep(FILE, FILE)
    assert not (tmp_path / "model.json").exists()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "{}",
        '{"instead_of": 1}',
        json.dumps({"instead_of": {"name": "midas_small", "precision": "auto"}}),
    ],
)
def test_a_damaged_file_is_no_choice(tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "model.json").write_text(text)
    assert KeptChoice(tmp_path / "model.json").restore(FILE) == FILE


def test_a_disk_that_does_not_take_it_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "state").write_text("a file")
    KeptChoice(tmp_path / "state" / "model.json").keep(chosen(FILE, {"name": "embedded"}), FILE)
    assert "the choice of the model is not kept" in caplog.text
