from __future__ import annotations

import pytest

from streamd.depth.graph.signature import Shape, Signature
from streamd.depth.models.base import Preprocessing

EXACT = Preprocessing(input_size=256, fit="exact", fixed=True)
WIDE = Preprocessing(input_size=256, height=128, fit="exact", fixed=True)
FREE = Preprocessing()
ANY = (None, 3, None, None)


def of(input: Shape, output: Shape, how: Preprocessing = EXACT) -> Signature:
    return Signature.of([("x", input)], [("y", output)], how)


@pytest.mark.parametrize(
    ("input", "nhwc"),
    [
        ((1, 3, 256, 256), False),
        ((1, 256, 256, 3), True),
        (ANY, False),
        ((None, None, None, 3), True),
        ((None, None, None, None), False),
    ],
)
def test_the_layout_of_the_input(input: Shape, nhwc: bool) -> None:
    assert of(input, (1, 256, 256)).nhwc is nhwc


@pytest.mark.parametrize(
    ("output", "axes"),
    [
        ((256, 256), ()),
        ((1, 256, 256), (0,)),
        ((None, None, None), (0,)),
        ((256, 256, 1), (2,)),
        ((1, 1, 256, 256), (0, 1)),
        ((1, 256, 256, 1), (0, 3)),
        ((None, 1, None, None), (0, 1)),
    ],
)
def test_what_is_squeezed_from_the_output(output: Shape, axes: tuple[int, ...]) -> None:
    assert of((1, 3, 256, 256), output).output_axes == axes


def test_sizes_that_are_no_squares() -> None:
    assert of((1, 3, 128, 256), (1, 1, 128, 256), WIDE).output_axes == (0, 1)
    assert of(ANY, (None, 1, None, None), FREE).output_axes == (0, 1)


EACH = "it should be one number for each pixel"


@pytest.mark.parametrize(
    ("input", "output", "how", "reason"),
    [
        ((3, 256, 256), (256, 256), EXACT, "its input is 3x256x256: it should be a batch of pictures, NCHW or NHWC"),
        ((1, 1, 256, 256), (256, 256), EXACT, "its input is 1x1x256x256: it should be one picture of three channels"),
        ((8, 3, 256, 256), (256, 256), EXACT, "its input is 8x3x256x256: it should be one picture of three channels"),
        ((1, 3, 256, 256), (1000,), EXACT, f"its output is 1000: {EACH}"),
        ((1, 3, 256, 256), (), EXACT, f"its output is a number: {EACH}"),
        ((1, 3, 256, 256), (1, 2, 256, 256), EXACT, f"its output is 1x2x256x256: {EACH}"),
        ((1, 3, 256, 256), (1, 1, 1, 256, 256), EXACT, f"its output is 1x1x1x256x256: {EACH}"),
        (
            (1, 3, 256, 256),
            (1, 1, 64, 64),
            EXACT,
            "its output is 64x64, its input 256x256: they should be the same",
        ),
        ((1, 3, 384, 512), (384, 512), EXACT, "its input is 512x384, and the manifest's size is 256x256"),
        ((1, 3, 256, 256), (256, 256), FREE, 'its input is fixed at 256x256: set fit = "exact" and this size'),
    ],
)
def test_what_cannot_be_run(input: Shape, output: Shape, how: Preprocessing, reason: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        of(input, output, how)
    assert str(caught.value) == reason


def test_one_input_and_one_output() -> None:
    with pytest.raises(ValueError, match=r"^it has 2 outputs \(depth, logits\): it should have one$"):
        Signature.of([("x", ANY)], [("depth", ANY), ("logits", ANY)], EXACT)
    with pytest.raises(ValueError, match=r"^it has 0 inputs \(\): it should have one$"):
        Signature.of([], [("depth", ANY)], EXACT)
