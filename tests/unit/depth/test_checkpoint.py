"""What a hostile checkpoint may cost. What good ones hold is compared with torch in tests/integration."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

from streamd.depth.checkpoint import read_state
from streamd.errors import WeightsRejected


@pytest.mark.parametrize("legacy", [False, True])
def test_a_repeated_bfloat16_takes_no_more_than_the_file(legacy: bool, tmp_path: Path) -> None:
    path = tmp_path / "repeated.pt"
    bomb = torch.full((1,), 0.5, dtype=torch.bfloat16).expand(1 << 21, 1 << 21)  # 16 TB of float32
    torch.save({"bomb": bomb}, path, _use_new_zipfile_serialization=not legacy)
    found = read_state(path)["bomb"]
    assert (found.shape, found.strides, found[0, 0]) == ((1 << 21, 1 << 21), (0, 0), 0.5)


def test_bfloat16_becomes_float32(tmp_path: Path) -> None:
    path, numbers = tmp_path / "half.pt", torch.arange(24).reshape(4, 6).bfloat16() / 7
    torch.save({"turned": numbers.T}, path)
    found = read_state(path)["turned"]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, numbers.float().T)


def test_safetensors_that_share_their_place(tmp_path: Path) -> None:
    about = {"dtype": "BF16", "shape": [512], "data_offsets": [0, 1024]}
    header = json.dumps({f"t{number}": about for number in range(1000)}).encode()
    path = tmp_path / "shared.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(1024))
    with pytest.raises(WeightsRejected, match="share their place"):
        read_state(path)


def test_only_the_first_bytes_of_the_byte_order_are_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "order.pt"
    torch.save({"a": torch.ones(2)}, path)
    with zipfile.ZipFile(path) as old:
        kept = {info.filename: old.read(info) for info in old.infolist() if not info.filename.endswith("byteorder")}
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in kept.items():
            archive.writestr(name, content)
        archive.writestr("order/byteorder", b"little" + bytes(1 << 20), zipfile.ZIP_DEFLATED)
    monkeypatch.delattr(zipfile.ZipFile, "read")
    assert read_state(path)["a"].tolist() == [1.0, 1.0]


def test_a_pickle_takes_no_more_memory_than_it_is_long(tmp_path: Path) -> None:
    path = tmp_path / "memo.pt"
    path.write_bytes(b"\x80\x02Nr" + (1 << 30).to_bytes(4, "little") + b".")  # memo 2^30: 16 GB of them
    with pytest.raises(WeightsRejected, match="all memory"):
        read_state(path)
