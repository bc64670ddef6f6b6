from __future__ import annotations

import importlib.metadata
import sys
from pathlib import Path

import pytest

from streamd.depth.store import ModelStore
from streamd.doctor import software
from tests.support.findings import found
from tests.support.manifests import written


class TestSoftware:
    def test_packages(self) -> None:
        listed, loads = found(software.packages)
        assert (listed.status, loads.status) == ("ok", "ok")
        assert {"aiortc", "openvino", "av"} <= listed.details.keys()
        assert "pytest" not in listed.details

    def test_a_package_that_is_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        version = importlib.metadata.version

        def without_aiortc(name: str) -> str:
            if name == "aiortc":
                raise importlib.metadata.PackageNotFoundError(name)
            return version(name)

        monkeypatch.setattr(importlib.metadata, "version", without_aiortc)
        finding = found(software.packages)[0]
        assert (finding.status, finding.found, finding.advice) == ("problem", "missing: aiortc", "pip install aiortc")

    def test_a_streamd_that_was_not_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def unknown(name: str) -> list[str]:
            raise importlib.metadata.PackageNotFoundError(name)

        monkeypatch.setattr(importlib.metadata, "requires", unknown)
        packages, openvino = found(software.packages)
        assert (packages.status, openvino.status) == ("warning", "ok")

    def test_an_openvino_that_does_not_load(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "streamd.depth.ov", None)
        finding = found(software.packages)[1]
        assert finding.status == "problem"
        assert "does not load" in finding.found

    def test_codecs(self) -> None:
        assert {finding.status for finding in found(software.codecs)} == {"ok"}

    def test_codecs_that_are_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(software.DECODERS, "no-such-codec", "Odd")
        monkeypatch.setattr(software, "ENCODER", "libnone")
        monkeypatch.setattr(software, "_has_tls", lambda: False)
        assert [(each.status, each.found.partition(";")[2] or each.found) for each in found(software.codecs)] == [
            ("warning", " not Odd"),
            ("problem", "has no libnone: nothing can be published"),
            ("warning", "no tls: such cameras do not open"),
        ]

    @pytest.mark.parametrize(
        ("config", "status", "words"),
        [
            ({}, "warning", "embedded stands in"),
            ({"fallback": ""}, "problem", "not on this machine"),
            ({"name": "embedded"}, None, ""),
        ],
    )
    def test_models_that_are_missing(self, config: dict[str, str], status: str | None, words: str) -> None:
        by_name = {finding.found.partition(":")[0]: finding for finding in found(software.models, model=config)}
        assert by_name["embedded"].status == "ok"
        if status is None:
            assert "midas_small" not in by_name
            return
        assert by_name["midas_small"].status == status
        assert words in by_name["midas_small"].found
        assert by_name["midas_small"].advice == "streamd models fetch midas_small"

    def test_a_manifest(self, tmp_path: Path) -> None:
        path = written(tmp_path)
        assert found(software.models, model={"name": str(path)})[0].found == (
            f"garden: {tmp_path}/garden.onnx, by its manifest"
        )
        (tmp_path / "garden.onnx").unlink()
        finding = found(software.models, model={"name": str(path)})[0]
        assert finding.status == "problem"
        assert finding.found == f"{path}: file: garden.onnx: no such file beside the manifest"

    def test_a_model_that_was_cut_short(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("STREAMD_HOME", str(tmp_path))
        weights = tmp_path / "weights.pt"
        weights.write_bytes(b"0123456789")
        store = ModelStore(tmp_path / "models", tmp_path / "cache", check=lambda spec, path: None)
        manifest = store.import_file("midas_small", weights)
        (tmp_path / "models/midas_small" / manifest.file).write_bytes(b"01234")
        finding = found(software.models)[0]
        assert finding.status == "problem"
        assert "5 bytes are left of 10" in finding.found
