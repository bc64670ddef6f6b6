"""What a server may answer."""

from __future__ import annotations

import numpy as np
import pytest

from streamd.depth.remote.answer import NoAnswer, Tensor, check_tensors, depth_of

INPUT, OUTPUT = Tensor("pictures", "UINT8", (-1, -1, -1, 3)), Tensor("depth", "FP32", (-1, -1, -1))
DEPTH = np.arange(6, dtype=np.float32).reshape(2, 3)


def test_depth_is_what_was_sent() -> None:
    np.testing.assert_array_equal(depth_of(Tensor("depth", "FP32", (1, 2, 3)), DEPTH.tobytes(), 2, 3), DEPTH)


@pytest.mark.parametrize(
    ("tensor", "data"),
    [
        (Tensor("depths", "FP32", (1, 2, 3)), DEPTH.tobytes()),
        (Tensor("depth", "FP16", (1, 2, 3)), DEPTH.tobytes()),
        (Tensor("depth", "FP32", (1, 3, 2)), DEPTH.tobytes()),
        (Tensor("depth", "FP32", (2, 3)), DEPTH.tobytes()),
        (Tensor("depth", "FP32", (1, 2, 3)), DEPTH.tobytes()[:-4]),
        (Tensor("depth", "FP32", (1, 2, 3)), DEPTH.tobytes() + b"more"),
        (Tensor("depth", "FP32", (1, 2, 3)), np.full_like(DEPTH, np.nan).tobytes()),
        (Tensor("x" * 10_000, "\n\0", tuple(range(10_000))), b""),
    ],
)
def test_what_is_none(tensor: Tensor, data: bytes) -> None:
    with pytest.raises(NoAnswer) as refused:
        depth_of(tensor, data, 2, 3)
    assert len(str(refused.value)) <= 160
    assert "\n" not in str(refused.value)


def test_metadata_may_be_missing_or_right() -> None:
    check_tensors([], [])
    check_tensors([INPUT], [OUTPUT])
    check_tensors([Tensor("other", "FP32", (1,)), INPUT], [OUTPUT, Tensor("other", "FP32", (1,))])


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        ([Tensor("images", "UINT8", (-1, -1, -1, 3))], [OUTPUT]),
        ([Tensor("pictures", "FP32", (-1, 3, 256, 256))], [OUTPUT]),
        ([Tensor("pictures", "UINT8", (-1, 3, 256, 256))], [OUTPUT]),
        ([Tensor("pictures", "UINT8", (-1, -1, 3))], [OUTPUT]),
        ([INPUT], [Tensor("depth", "FP32", (-1, 1, -1, -1))]),
        ([INPUT], [Tensor("depth", "FP16", (-1, -1, -1))]),
    ],
)
def test_metadata_of_another_model(inputs: list[Tensor], outputs: list[Tensor]) -> None:
    with pytest.raises(NoAnswer, match="its model has"):
        check_tensors(inputs, outputs)
