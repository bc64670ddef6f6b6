from __future__ import annotations

from dataclasses import replace
from importlib import resources

import numpy as np
import pytest

from streamd.depth.estimator import ModelInfo, as_inverse_depth
from streamd.depth.models import MODELS, find_model
from streamd.errors import UsageError
from streamd.media.frames import Provenance


@pytest.mark.parametrize("name", MODELS)
def test_a_model_can_come_to_this_machine(name: str) -> None:
    spec = MODELS[name]
    assert spec.name == name
    assert spec.download or (resources.files("streamd") / "assets" / str(spec.embedded_weights)).is_file()


def test_midas_is_fed_as_its_authors_do() -> None:
    how = find_model("midas_small").preprocessing
    assert (how.mean, how.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert (how.input_size, how.multiple_of, how.interpolation) == (256, 32, "cubic")


def test_only_the_embedded_one_is_coarse() -> None:
    assert [name for name, spec in MODELS.items() if spec.coarse] == ["embedded"]


def test_an_unknown_model_names_those_that_exist() -> None:
    with pytest.raises(UsageError, match=r"^model x: unknown; there are: midas_small, embedded$"):
        find_model("x")


def test_what_grows_with_distance_is_turned_round() -> None:
    output = np.array([[1, 2, 3]], np.float32)
    leres = replace(find_model("midas_small"), polarity="depth")
    assert (as_inverse_depth(output, leres) == [[-1, -2, -3]]).all()
    assert as_inverse_depth(output, find_model("midas_small")) is output


def test_the_origin_of_a_depth_map() -> None:
    info = ModelInfo(find_model("embedded"), "ab12", "openvino", "bf16")
    assert info.provenance == Provenance("embedded", "ab12", "inverse_depth", "openvino", "bf16")
