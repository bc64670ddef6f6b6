"""Weights come in and are used as the reference uses them; without them the first run shows depth all the same."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from streamd.depth.graph.torch import load_network
from streamd.depth.models import MODELS, find_model
from tests.e2e.conftest import Shared, StartDaemon, make_home
from tests.e2e.pictures import make_still, read
from tests.e2e.processes import streamd
from tests.support.waiting import until

MEAN, STD = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])

Depth = NDArray[np.float32]


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Enters as 256x192: 4:3 within 256, both sides multiples of 32."""
    return make_still(tmp_path_factory.mktemp("picture") / "picture.png", "testsrc2=size=400x300")


@pytest.fixture(scope="module")
def expected(midas_small: Shared, picture: Path) -> Depth:
    """What the network gives in torch behind MiDaS's own preprocessing."""
    rgb = read(picture.read_bytes()) / 255.0
    small = (cv2.resize(rgb, (256, 192), interpolation=cv2.INTER_CUBIC) - MEAN) / STD
    planes = torch.from_numpy(small.transpose(2, 0, 1)[None].astype(np.float32))
    with torch.inference_mode():
        return np.asarray(load_network(find_model("midas_small"), midas_small.checkpoint)(planes)[0])


class TestStore:
    """The import itself is in the fixture ``midas_small``."""

    def test_list_and_verify(self, midas_small: Shared, tmp_path: Path) -> None:
        home = make_home(midas_small, tmp_path, models=True)
        digest = sha256(midas_small.checkpoint.read_bytes()).hexdigest()
        listed = streamd(home, "models", "list").stdout.splitlines()
        assert [line.split()[0] for line in listed] == [*MODELS]
        assert digest[:12] in listed[0]
        assert "not the official file" in listed[0]

        verified = streamd(home, "models", "verify")
        assert (verified.code, verified.stderr) == (0, "")
        assert f"midas_small: ok: sha256 {digest}, loads" in verified.stdout
        assert "embedded: ok: " in verified.stdout

    def test_nothing_here(self, home: Path) -> None:
        assert "missing: streamd models fetch midas_small" in streamd(home, "models", "list").stdout


class TestAgainstTheReference:
    @pytest.mark.parametrize("runtime", ["torch", "openvino"])
    def test_equals(self, midas_small: Shared, picture: Path, expected: Depth, runtime: str, tmp_path: Path) -> None:
        home, file = make_home(midas_small, tmp_path, models=True), tmp_path / "depth.npz"
        options = ("--model", "midas_small", "--runtime", runtime, "--precision", "fp32", "--format", "npz")
        done = streamd(home, "depth", picture, "--output", file, *options)
        assert (done.code, done.stderr) == (0, "")
        with np.load(file) as arrays:
            facts = [str(arrays[key]) for key in ("model", "polarity", "runtime", "precision")]
            output, depth = arrays["network_output"], arrays["inverse_depth"]
        assert facts == ["midas_small", "inverse_depth", runtime, "fp32"]
        tolerance = 1e-3 * float(expected.max())
        np.testing.assert_allclose(output, expected, atol=tolerance, rtol=0)
        full = cv2.resize(expected, (400, 300), interpolation=cv2.INTER_CUBIC)
        np.testing.assert_allclose(depth, full, atol=tolerance, rtol=0)


class TestFallback:
    def test_offline(self, daemon: StartDaemon) -> None:
        """As after the installation on a box without internet: MiDaS_small is wanted, nothing is there."""
        running = daemon("demo:", model="").until_ready()

        def could_not_fetch() -> bool:
            return "could not be fetched" in (running.stream("demo")["model"]["message"] or "")

        until("the download has failed", could_not_fetch)
        model = running.stream("demo")["model"]
        assert (model["name"], model["wanted"], model["coarse"]) == ("embedded", "midas_small", True)
        assert running.metrics().value("streamd_model_info", model="embedded") == 1

        captured = running.metrics().value("streamd_frames_captured_total")
        until("it carries on", lambda: running.metrics().value("streamd_frames_captured_total") > captured + 25)
        assert running.state("demo") == "running"
        warnings = [line for line in running.log.splitlines() if " WARNING " in line]
        assert len(warnings) == 1, running.log
        assert "could not be fetched" in warnings[0]
