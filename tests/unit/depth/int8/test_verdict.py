from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from streamd.depth.files import sha256_of, write_json
from streamd.depth.int8 import verdict
from streamd.depth.int8.guard import Figures
from streamd.depth.int8.verdict import Verdict, find_verdict, graph_files, graph_path, stands, verdict_path
from streamd.depth.models import find_model

SPEC, SHA256 = find_model("embedded"), "ab" * 32
REFUSED = Verdict(False, Figures(0.02, 0.05, 0.99, 0.8, 3.0), 48, 24, own=True)


def write(cache: Path, kept: Verdict) -> Path:
    path = verdict_path(cache, SPEC, SHA256)
    path.parent.mkdir(exist_ok=True)
    for number, file in enumerate(graph_files(path)):
        file.write_text(f"graph {number}")
    graph = sha256_of(*graph_files(path)) if kept.taken else ""
    write_json(path, replace(kept, graph_sha256=graph).to_json())
    return path


def test_it_is_read_again(tmp_path: Path) -> None:
    assert find_verdict(tmp_path, SPEC, SHA256) is None
    write(tmp_path, REFUSED)
    assert find_verdict(tmp_path, SPEC, SHA256) == REFUSED
    assert find_verdict(tmp_path, SPEC, "cd" * 32) is None, "of other weights nothing is known"


def test_another_machine_has_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, REFUSED)
    monkeypatch.setattr(verdict, "cpu", lambda: ("another", ""))
    assert find_verdict(tmp_path, SPEC, SHA256) is None


def test_a_graph_that_has_changed_is_not_taken(tmp_path: Path) -> None:
    write(tmp_path, replace(REFUSED, taken=True))
    found = find_verdict(tmp_path, SPEC, SHA256)
    assert found is not None
    assert found.taken
    graph_path(tmp_path, SPEC, SHA256).write_text("cut")
    assert find_verdict(tmp_path, SPEC, SHA256) is None


@pytest.mark.parametrize("content", ["", "[]", "{}", json.dumps({**REFUSED.to_json(), "figures": {}})])
def test_what_is_no_verdict_is_none(content: str, tmp_path: Path) -> None:
    write(tmp_path, REFUSED).write_text(content)
    assert find_verdict(tmp_path, SPEC, SHA256) is None


def test_a_refusal_by_built_in_pictures_is_tried_again_with_others() -> None:
    assert not stands(None, own=False)
    assert stands(REFUSED, own=True)
    built_in = replace(REFUSED, own=False)
    assert stands(built_in, own=False)
    assert not stands(built_in, own=True)
    assert stands(replace(built_in, taken=True), own=True)


def test_a_refusal_is_one_line_with_its_figures() -> None:
    assert REFUSED.refusal(SPEC) == (
        "int8 of embedded refused: on 24 pictures of scenes that it was not made of: mean error 2.00 % (at most 1 %), "
        "worst 5.00 % (at most 2.5 %), Spearman 0.9900 (at least 0.995), edges F1 0.80 (at least 0.85), "
        "flicker 3.00 x bf16 (at most 1.5)"
    )
