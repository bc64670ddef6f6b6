"""Files that an ONNX model names. That OpenVINO and onnx write them so is in integration/test_onnx.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from streamd.depth.graph.external import external_files
from tests.support.onnx_bytes import field, onnx_naming, tensor

DEEP = {
    "a constant of a node": field(7, field(1, field(5, field(5, tensor("x.bin"))))),
    "one of several": field(7, field(1, field(5, field(10, tensor("x.bin"))))),
    "a branch": field(7, field(1, field(5, field(6, field(5, tensor("x.bin")))))),
    "a sparse tensor": field(7, field(15, field(1, tensor("x.bin")))),
    "a function": field(25, field(7, field(5, field(5, tensor("x.bin"))))),
}


def found(content: bytes, folder: Path) -> list[str]:
    model = folder / "model.onnx"
    model.write_bytes(content)
    return [str(file.relative_to(folder)) for file in external_files(model)]


def test_every_file_once_and_in_order(tmp_path: Path) -> None:
    assert found(onnx_naming("b.weights", "a", "sub/c.bin", "a"), tmp_path) == ["a", "b.weights", "sub/c.bin"]
    assert found(onnx_naming(), tmp_path) == []


@pytest.mark.parametrize("where", DEEP)
def test_wherever_the_tensor_is(where: str, tmp_path: Path) -> None:
    assert found(DEEP[where], tmp_path) == ["x.bin"]


def test_nothing_outside_the_folder_is_read(tmp_path: Path) -> None:
    assert found(onnx_naming("/etc/passwd", "../secret", "a/../../b", ""), tmp_path) == []


def test_a_model_that_has_changed_is_read_again(tmp_path: Path) -> None:
    assert found(onnx_naming("a"), tmp_path) == ["a"]
    assert found(onnx_naming("another"), tmp_path) == ["another"]


@pytest.mark.parametrize("content", [b"", b"\x00", b"{}", b"<?xml", bytes(100), b"\xff" * 50, field(7, b"\x2a\xff")])
def test_what_is_no_model_names_nothing(content: bytes, tmp_path: Path) -> None:
    assert found(content, tmp_path) == []


def test_damage_does_no_harm(tmp_path: Path) -> None:
    whole, random = onnx_naming("a.bin", "b.bin"), np.random.default_rng(0)
    for _ in range(300):
        damaged = bytearray(whole[: random.integers(1, len(whole) + 1)])
        damaged[random.integers(len(damaged))] = random.integers(256)
        found(bytes(damaged), tmp_path)


def test_a_graph_in_a_graph_without_end(tmp_path: Path) -> None:
    content = tensor("x.bin")
    for _ in range(200):
        content = field(1, field(5, field(6, content)))
    assert found(field(7, content), tmp_path) == []
