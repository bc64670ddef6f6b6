from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from streamd.config.sections import ModelConfig
from streamd.depth.models import check_input_size, find_model
from streamd.depth.models.base import Preprocessing
from streamd.depth.models.manifest import read_manifest
from streamd.depth.preprocess import network_size, still_input
from streamd.depth.store import ModelStore
from streamd.errors import ConfigError
from tests.support.manifests import GOOD, written
from tests.support.onnx_bytes import onnx_naming


def test_what_it_says(tmp_path: Path) -> None:
    path = written(tmp_path)
    spec = find_model(str(path))
    assert (spec.name, spec.licence, spec.polarity, spec.file) == ("garden", "MIT", "depth", tmp_path / "garden.onnx")
    assert spec.reference == str(path)
    assert spec.preprocessing == Preprocessing(
        mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7), height=256, fixed=True, multiple_of=1, fit="exact"
    )


def test_its_size_may_follow_the_picture(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD + 'fit = "lower_bound"\nmultiple_of = 16\nenlargement = "corners"\n')
    how = read_manifest(path).preprocessing
    assert network_size(1280, 720, how) == (448, 256)
    assert (how.fixed, how.enlargement) == (False, "corners")
    check_input_size(ModelConfig(name=str(path), input_size=128))


def test_its_size_need_be_no_square(tmp_path: Path) -> None:
    how = read_manifest(written(tmp_path, GOOD.replace("256", "[518, 294]"))).preprocessing
    assert {network_size(*size, how) for size in ((1280, 720), (3, 4000))} == {(518, 294)}
    assert (how.min_side, how.max_side, how.max_pixels) == (294, 518, 518 * 294)


def test_the_order_of_colours(tmp_path: Path) -> None:
    rgb = np.full((4, 4, 3), (255, 0, 51), np.uint8)
    how = read_manifest(written(tmp_path, GOOD + 'colours = "bgr"\n')).preprocessing
    assert still_input(rgb, how)[:, 0, 0] == pytest.approx([(0.2 - 0.1) / 0.5, -0.2 / 0.6, (1 - 0.3) / 0.7])


def test_the_digest_is_that_of_all_files(tmp_path: Path) -> None:
    store = ModelStore(tmp_path / "models", tmp_path / "cache")
    path = written(tmp_path)
    assert store.weights(str(path)) == (tmp_path / "garden.onnx", hashlib.sha256(b"garden.onnx").hexdigest())
    path = written(tmp_path, GOOD.replace("onnx", "xml"), "garden.xml", "garden.bin")
    assert store.weights(str(path)) == (tmp_path / "garden.xml", hashlib.sha256(b"garden.xmlgarden.bin").hexdigest())


BESIDE = "should be the name of an .onnx or .xml file beside the manifest"


@pytest.mark.parametrize(
    ("text", "reasons"),
    [
        (GOOD.replace('name = "garden"\n', ""), ["name: is required"]),
        (GOOD.replace("mean", "meen"), ["mean: is required", "meen: unknown key"]),
        (GOOD.replace('"garden"', '"embedded"'), ["name: embedded: streamd has a network of this name"]),
        (GOOD.replace("garden.onnx", "garden.pt"), [f"file: garden.pt: {BESIDE}"]),
        (GOOD.replace("garden.onnx", "/etc/garden.onnx"), [f"file: /etc/garden.onnx: {BESIDE}"]),
        (GOOD.replace("garden.onnx", "none.onnx"), ["file: none.onnx: no such file beside the manifest"]),
        (GOOD.replace("garden.onnx", "net.xml"), ["file: net.xml: no such file beside the manifest"]),
        (GOOD.replace("0.6", "0"), ["std.1: 0: should be greater than 0"]),
        (GOOD.replace("[0.1, 0.2, 0.3]", "[0.1, nan, 0.3]"), ["mean.1: nan: should be a finite number"]),
        (GOOD.replace("[0.1, 0.2, 0.3]", "0.5"), ["mean: 0.5: should be a list"]),
        (
            GOOD.replace('"depth"', '"far"'),
            ["polarity: far: should be 'inverse_depth' or 'depth'"],
        ),
        (
            GOOD.replace("256", "[256, 128]") + 'fit = "minimal"\n',
            ["fit: minimal: takes one number as size"],
        ),
        (GOOD.replace("256", "250") + 'fit = "minimal"\n', ["size: 250: is no multiple of 32"]),
        ("[model", ["is not TOML: Expected ']' at the end of a table declaration (at end of document)"]),
    ],
)
def test_all_that_is_wrong_is_told_a_line_each(text: str, reasons: list[str], tmp_path: Path) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        find_model(str(path))
    assert str(caught.value).splitlines() == [f"{path}: {reason}" for reason in reasons]


def test_what_an_onnx_file_names_is_missed(tmp_path: Path) -> None:
    path = written(tmp_path)
    (tmp_path / "garden.onnx").write_bytes(onnx_naming("numbers.bin"))
    with pytest.raises(ConfigError, match=r"garden.toml: file: numbers.bin: no such file beside the manifest$"):
        find_model(str(path))
    (tmp_path / "numbers.bin").touch()
    find_model(str(path))


def test_what_belongs_to_an_xml_file_is_missed(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD.replace("onnx", "xml"), "garden.xml")
    with pytest.raises(ConfigError, match=r"garden.toml: file: garden.bin: no such file beside the manifest$"):
        find_model(str(path))


def test_a_manifest_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"/none.toml: no such file or directory$"):
        find_model(f"{tmp_path}/none.toml")


def test_weights_are_in_the_file(tmp_path: Path) -> None:
    config = ModelConfig(name=str(written(tmp_path)), weights=Path("midas.pt"))
    with pytest.raises(ConfigError, match=r"^model.weights: midas.pt: the manifest names the file$"):
        check_input_size(config)


def test_a_fixed_size_takes_no_other(tmp_path: Path) -> None:
    path = written(tmp_path)
    with pytest.raises(ConfigError, match=r"^model.input_size: 128: .*garden.toml takes 256 only$"):
        check_input_size(ModelConfig(name=str(path), input_size=128))
