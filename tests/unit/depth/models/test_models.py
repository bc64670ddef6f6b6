from __future__ import annotations

from dataclasses import replace
from importlib import resources

import cv2
import numpy as np
import pytest

from streamd.config.sections import ModelConfig
from streamd.depth.estimator import ModelInfo, as_inverse_depth
from streamd.depth.models import MODELS, check_input_size, find_model, memory_limit_bytes, timeout_s
from streamd.depth.preprocess import still_input
from streamd.errors import ConfigError, UsageError
from streamd.media.frames import Provenance


@pytest.mark.parametrize("name", MODELS)
def test_a_model_can_come_to_this_machine(name: str) -> None:
    spec = MODELS[name]
    assert spec.name == name
    assert spec.download or spec.bring or (resources.files("streamd") / "assets" / str(spec.embedded_weights)).is_file()


def test_midas_is_fed_as_its_authors_do() -> None:
    how = find_model("midas_small").preprocessing
    assert (how.mean, how.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert (how.input_size, how.multiple_of, how.interpolation) == (256, 32, "cubic")


@pytest.mark.parametrize(("size", "reason"), [(100, "midas_small takes a multiple of 32"), ("auto", ""), (128, "")])
def test_an_input_size_that_the_model_does_not_take_is_refused(size: int, reason: str) -> None:
    config = ModelConfig(input_size=size)
    if not reason:
        check_input_size(config)
        return
    with pytest.raises(ConfigError, match=f"^model.input_size: {size}: {reason}$"):
        check_input_size(config)


def test_a_heavy_network_gets_what_it_needs() -> None:
    heavy = replace(find_model("embedded"), least_timeout_s=20, least_memory_mb=2500)
    assert [timeout_s(ModelConfig(timeout_s=given), heavy) for given in (3, 30)] == [20, 30]
    assert [memory_limit_bytes(ModelConfig(memory_limit_mb=given), heavy) for given in (1024, 4000)] == [2.5e9, 4e9]
    assert timeout_s(ModelConfig(timeout_s=1), find_model("midas_small")) == 1


def test_only_the_embedded_one_is_coarse() -> None:
    assert [name for name, spec in MODELS.items() if spec.coarse] == ["embedded"]


def test_an_unknown_model_names_those_that_exist() -> None:
    with pytest.raises(UsageError, match=r"^model x: unknown; there are: midas_small, embedded, zipdepth, "):
        find_model("x")


@pytest.mark.parametrize("name", ["leres_resnet50", "leres_resnext101"])
def test_leres_is_brought_and_fed_as_its_authors_do(name: str) -> None:
    spec = find_model(name)
    assert (spec.polarity, spec.licence, spec.download) == ("depth", "non-commercial", None)
    assert "not to be passed on" in spec.notice
    rgb = np.random.default_rng(0).integers(0, 256, (100, 150, 3), np.uint8)
    pixels = cv2.resize(rgb, (448, 448)).astype(np.float32) / 255
    planes = (pixels - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
    np.testing.assert_allclose(still_input(rgb, spec.preprocessing), planes.transpose(2, 0, 1), atol=1e-6)
    assert spec.preprocessing.enlargement == "linear"


def test_a_published_digest_tells_the_official_file_without_a_download() -> None:
    digest = find_model("leres_resnext101").official_sha256
    assert [find_model("leres_resnext101").is_official(sha256) for sha256 in (digest, "ab" * 32)] == [True, False]
    assert find_model("leres_resnet50").is_official(digest) is None


def test_what_grows_with_distance_is_turned_round() -> None:
    output = np.array([[1, 2, 3]], np.float32)
    leres = find_model("leres_resnet50")
    assert (as_inverse_depth(output, leres) == [[-1, -2, -3]]).all()
    assert as_inverse_depth(output, find_model("midas_small")) is output


def test_the_origin_of_a_depth_map() -> None:
    info = ModelInfo(find_model("embedded"), "ab12", "openvino", "bf16")
    assert info.provenance == Provenance("embedded", "ab12", "inverse_depth", "openvino", "bf16")
