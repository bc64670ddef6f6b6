"""Networks in int8: quantised by NNCF where it is installed, found good or refused, and how the service takes it."""

from __future__ import annotations

import importlib.util
import io
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from streamd import cli
from streamd.depth.files import sha256_of, write_json
from streamd.depth.graph.openvino import load_model
from streamd.depth.int8 import album, scenes
from streamd.depth.int8.guard import Figures
from streamd.depth.int8.scenes import Take
from streamd.depth.int8.verdict import Verdict, decide, find_verdict, graph_files, verdict_path
from streamd.depth.models import ModelSpec, find_model
from streamd.depth.ov import openvino as ov
from streamd.depth.service import DepthService
from streamd.depth.store import ModelStore
from streamd.errors import DepthError
from streamd.jobs import examples
from streamd.jobs.picture import depth_of_picture
from tests.integration.conftest import Installed, MakeService
from tests.integration.web_site import served
from tests.support.clips import write_clip
from tests.support.small_networks import write_convolutions, write_manifest
from tests.support.waiting import scaled, until

needs_nncf = pytest.mark.skipif(importlib.util.find_spec("nncf") is None, reason="the extra int8 (nncf) is missing")
GOOD = Verdict(True, Figures(0.004, 0.012, 0.999, 0.95, 1.1), 32, 24, own=True)
BAD = Verdict(False, Figures(0.051, 0.29, 0.35, 0.5, 4.0), 32, 24, own=True)
LINE = "int8 of embedded refused: on 24 pictures of scenes that it was not made of: mean error 5.10 % (at most 1 %)"
PICTURE = cv2.imencode(".png", np.random.default_rng(0).integers(0, 255, (90, 160, 3), np.uint8))[1].tobytes()

Decided = list[Sequence[Take]]


@pytest.fixture
def plant(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[Verdict], Decided]:
    """In place of NNCF: a verdict, and the network itself as its graph. What it was asked with is in the list."""

    def plant(verdict: Verdict) -> Decided:
        asked: Decided = []

        def decided(
            spec: ModelSpec, weights: Path, sha256: str, cache: Path, takes: Sequence[Take], **_: Any
        ) -> Verdict:
            asked.append(takes)
            path, kept = verdict_path(cache, spec, sha256), verdict
            path.parent.mkdir(parents=True, exist_ok=True)
            if verdict.taken:
                ov.save_model(load_model(spec, weights), str(path.with_suffix(".xml")), False)
                kept = replace(verdict, graph_sha256=sha256_of(*graph_files(path)))
            write_json(path, kept.to_json())
            return kept

        monkeypatch.setattr("streamd.depth.launcher.decide", decided)
        monkeypatch.setattr("streamd.depth.runtimes._lacks_nncf", lambda: False)
        monkeypatch.setattr(album, "FIRST_EVERY_S", 0.0)
        return asked

    return plant


@pytest.fixture
def own_cache(tmp_path: Path) -> ModelStore:
    return ModelStore(tmp_path / "models", tmp_path / "cache")


def watch(service: DepthService, done: Callable[[], object]) -> None:
    """A stream brings pictures until it is so."""
    over = threading.Event()

    def bring() -> None:
        planes = np.random.default_rng(0).standard_normal((3, 128, 256)).astype(np.float32)
        while not over.is_set():
            try:
                info = service.wait_ready(1)
                service.submit(info, planes, picture=(320, 180), source="porch").result(scaled(20))
            except DepthError:
                pass

    stream = threading.Thread(target=bring)
    stream.start()
    try:
        until("it is done", done, within_s=30)
    finally:
        over.set()
        stream.join()


def precision(service: DepthService) -> str:
    info = service.info
    return info.precision if info else ""


def test_a_good_one_is_made_behind_the_pictures_and_kept(
    make_service: MakeService, own_cache: ModelStore, plant: Callable[[Verdict], Decided]
) -> None:
    asked = plant(GOOD)
    service = make_service(precision="int8", service={"store": own_cache})
    service.wait_ready(20)
    assert precision(service) in ("fp32", "bf16"), "pictures come first"
    assert "is made of this machine's own pictures" in (service.status.message or "")
    watch(service, lambda: precision(service) == "int8")
    assert service.status.message is None
    assert {take.source for take in asked[0]} == {"porch"}
    assert len(asked[0]) >= scenes.ENOUGH
    service.close()
    again = make_service(precision="int8", service={"store": own_cache})
    assert again.wait_ready(20).precision == "int8"
    assert len(asked) == 1, "a restart makes nothing anew"


def test_a_bad_one_is_refused_with_its_figures_and_what_ran_runs_on(
    make_service: MakeService, own_cache: ModelStore, plant: Callable[[Verdict], Decided]
) -> None:
    asked = plant(BAD)
    service = make_service(precision="int8", service={"store": own_cache})
    service.wait_ready(20)
    pid = service.worker_pid
    watch(service, lambda: LINE in (service.status.message or ""))
    assert service.worker_pid == pid
    service.close()
    again = make_service(precision="int8", service={"store": own_cache})
    again.wait_ready(20)
    until("it says why", lambda: LINE in (again.status.message or ""))
    assert precision(again) in ("fp32", "bf16")
    assert len(asked) == 1


async def test_the_api_refuses_what_was_refused_before(
    make_service: MakeService, own_cache: ModelStore, plant: Callable[[Verdict], Decided], embedded: Installed
) -> None:
    plant(BAD)
    service = make_service(service={"store": own_cache})
    service.wait_ready(20)
    path = verdict_path(own_cache.cache, embedded.spec, embedded.sha256)
    path.parent.mkdir(parents=True)
    write_json(path, BAD.to_json())
    async with served(service=service, store=own_cache) as site:
        reply = await site.put("/api/v1/model", precision="int8")
    assert reply.status == 409
    assert LINE in reply.json["error"]["message"]
    assert (precision(service), service.config.precision) == ("fp32", "fp32")


def test_a_command_makes_it_first_of_its_own_pictures(
    make_service: MakeService, own_cache: ModelStore, plant: Callable[[Verdict], Decided]
) -> None:
    asked, own = plant(GOOD), [Take("photo", np.zeros((1, 3, 128, 256), np.float32))]
    options = {"store": own_cache, "strict": True, "attended": True, "examples": lambda how: own}
    service = make_service(precision="int8", service=options)
    assert service.wait_ready(20).precision == "int8"
    assert asked == [own]
    with np.load(io.BytesIO(depth_of_picture(PICTURE, service, "depth", "npz"))) as answer:
        assert str(answer["precision"]) == "int8"


@pytest.mark.parametrize("strict", [True, False])
def test_a_command_ends_with_the_figures(
    strict: bool, make_service: MakeService, own_cache: ModelStore, plant: Callable[[Verdict], Decided]
) -> None:
    plant(BAD)
    options = {"store": own_cache, "strict": strict, "attended": True, "examples": lambda how: ()}
    service = make_service(precision="int8", service=options)
    with pytest.raises(DepthError, match=re.escape(LINE)):
        service.wait_ready(20)


def test_without_nncf_one_line_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr("streamd.depth.runtimes._lacks_nncf", lambda: True)
    picture = tmp_path / "photo.png"
    picture.write_bytes(PICTURE)
    code = cli.main(["depth", str(picture), "--output", str(tmp_path / "depth.png"), "--precision", "int8"])
    assert code == 78
    assert capsys.readouterr().err == (
        'streamd: model.precision: int8: nncf is not installed: pip install "streamd[int8]"\n'
    )


def test_examples_of_a_film_are_pairs_of_one_scene(tmp_path: Path) -> None:
    film = write_clip(tmp_path / "film.mp4", 70)
    takes = examples.of_film(str(film), find_model("embedded").preprocessing)
    assert len(takes) == 3
    assert {take.source for take in takes} == {str(film)}
    assert all(len(take.planes) == 2 for take in takes)


def test_examples_of_pictures_leave_out_what_is_none(tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(PICTURE)
    (tmp_path / "note.png").write_bytes(b"no picture")
    images = [str(tmp_path / name) for name in ("photo.png", "note.png", "nothing.png")]
    takes = examples.of_pictures(images, find_model("embedded").preprocessing)
    assert [take.source for take in takes] == images[:1]


@needs_nncf
@pytest.mark.timeout(120, func_only=True)
def test_nncf_makes_a_good_one_and_a_bad_one(tmp_path: Path, own_cache: ModelStore, make_service: MakeService) -> None:
    """The same numbers twice, once in a form that int8 spoils. The clip calibrates, drawn pictures test."""
    verdicts = {}
    for name, outlier in (("good", 1.0), ("bad", 2000.0)):
        file = write_convolutions(tmp_path / f"{name}.xml", outlier=outlier)
        manifest = write_manifest(file, size="64", fit="upper_bound", name=f'"{name}"')
        spec = find_model(str(manifest))
        weights, sha256 = own_cache.weights(str(manifest))
        verdict = verdicts[name] = decide(spec, weights, sha256, own_cache.cache, ())
        print(f"{name}: {verdict.figures}")
        assert find_verdict(own_cache.cache, spec, sha256) == verdict
        assert [file.exists() for file in graph_files(verdict_path(own_cache.cache, spec, sha256))] == [
            verdict.taken
        ] * 2
    good, bad = verdicts["good"], verdicts["bad"]
    assert good.taken, str(good.figures)
    assert not bad.taken, str(bad.figures)
    assert bad.figures.mean > 2 * good.figures.mean
    options = {"store": own_cache, "strict": True, "attended": True, "examples": lambda how: ()}
    service = make_service(name=str(tmp_path / "good.toml"), precision="int8", service=options)
    assert service.wait_ready(20).precision == "int8"
    depth_of_picture(PICTURE, service, "depth", "npz")
