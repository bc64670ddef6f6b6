"""deploy/: cameras split over boxes, and manifests that pass their schemas."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from deploy import split
from streamd.config.load import parse

REPOSITORY = Path(__file__).parents[2]
DEPLOY = REPOSITORY / "deploy"
BOXES = DEPLOY / "kubernetes" / "boxes"
MANIFESTS = sorted(
    path
    for path in (DEPLOY / "kubernetes").rglob("*.yaml")
    if path.name not in ("kustomization.yaml", "adapter-rule.yaml", "remote.yaml")
)
VERSIONS = ("1.28", "1.36")
"""The oldest Kubernetes that labels pods with their numbers, and a new one."""
NAMES = [f"camera-{number}" for number in range(100)]


def documents(path: Path) -> list[dict[str, Any]]:
    return [document for document in yaml.safe_load_all(path.read_text()) if document]


def of_kind(kind: str, name: str) -> dict[str, Any]:
    (found,) = (
        document
        for path in MANIFESTS
        for document in documents(path)
        if (document["kind"], document["metadata"]["name"]) == (kind, name)
    )
    return found


class TestPlaces:
    @pytest.mark.parametrize("boxes", [1, 2, 3, 7, 100, 150])
    def test_each_stream_has_one_box_and_no_box_more_than_its_share(self, boxes: int) -> None:
        chosen = split.places(NAMES, boxes)
        assert set(chosen) == set(NAMES)
        assert max(Counter(chosen.values()).values()) <= -(-len(NAMES) // boxes)
        assert set(chosen.values()) <= set(range(boxes))

    def test_one_box_more_moves_few(self) -> None:
        before, after = split.places(NAMES, 4), split.places(NAMES, 5)
        moved = sum(before[name] != after[name] for name in NAMES)
        assert moved <= 40  # 20 have to, for the new box; dealt out in turn, 80 would

    def test_the_order_in_the_file_does_not_matter(self) -> None:
        assert split.places(NAMES, 3) == split.places(NAMES[::-1], 3)


class TestSplit:
    def test_comments_other_sections_and_zones_stay(self) -> None:
        text = (
            "# mine\n[server]\nlisten = '0.0.0.0:8080'\n\n"
            "[streams.a]  # the gate\nsource = 'demo:'\n[[streams.a.zones]]\nname = 'z'\n\n"
            "[streams.'b.c']\nsource = 'demo:'\n[recording]\nmax_gb = 3\n"
        )
        files, chosen = split.split(text, 2)
        assert chosen["a"] != chosen["b.c"]
        first = files[chosen["a"]]
        assert "# mine" in first
        assert "# the gate" in first
        assert tomllib.loads(first)["streams"] == {"a": {"source": "demo:", "zones": [{"name": "z"}]}}
        assert tomllib.loads(files[chosen["b.c"]])["streams"] == {"b.c": {"source": "demo:"}}
        assert all(tomllib.loads(file)["recording"] == {"max_gb": 3} for file in files)

    @pytest.mark.parametrize(
        ("text", "says"),
        [
            ("[server]\n", "no [streams.NAME]"),
            ("[streams]\na = { source = 'demo:' }\nb = { source = 'demo:' }\n", "a table of its own"),
            ("streams.a.source = 'demo:'\nstreams.b.source = 'demo:'\n", "a table of its own"),
            ("[streams.a\n", "line 1"),
        ],
    )
    def test_what_cannot_be_split_is_refused(self, text: str, says: str, tmp_path: Path) -> None:
        cameras = tmp_path / "cameras.toml"
        cameras.write_text(text)
        command: list[str | Path] = [
            sys.executable,
            DEPLOY / "split.py",
            cameras,
            "--boxes",
            "2",
            "--output",
            tmp_path / "out",
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        assert says in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert not (tmp_path / "out").exists()

    def test_the_folder_here_is_what_it_makes_of_the_file_here(self, tmp_path: Path) -> None:
        command: list[str | Path] = [sys.executable, DEPLOY / "split.py", DEPLOY / "cameras.toml", "--boxes", "2"]
        command += ["--output", tmp_path, "--engine", "--fan-out"]
        subprocess.run(command, check=True)
        made = {path.name: path.read_text() for path in tmp_path.iterdir()}
        assert made == {path.name: path.read_text() for path in BOXES.iterdir()}

    def test_fewer_boxes_leave_no_file_of_before(self, tmp_path: Path) -> None:
        for boxes in ("3", "1"):
            command: list[str | Path] = [sys.executable, DEPLOY / "split.py", DEPLOY / "cameras.toml", "--boxes", boxes]
            subprocess.run([*command, "--output", tmp_path], check=True)
        assert [path.name for path in tmp_path.glob("*.toml")] == ["0.toml"]


def test_names_that_yaml_takes_for_something_else_stay_names(tmp_path: Path) -> None:
    cameras = tmp_path / "cameras.toml"
    cameras.write_text("".join(f"[streams.{name}]\nsource = 'demo:'\n" for name in ("1", "yes", "1e3", "'front.door'")))
    command: list[str | Path] = [sys.executable, DEPLOY / "split.py", cameras, "--boxes", "1", "--output", tmp_path]
    subprocess.run(command, check=True)
    paths = yaml.safe_load((tmp_path / "mediamtx.yml").read_text())["paths"]
    assert sorted(paths) == ["1", "1e3", "front.door", "yes"]
    assert paths["1"]["source"] == "whep://streamd-0.streamd:8080/whep/1"


@pytest.mark.parametrize("path", sorted(BOXES.glob("*.toml")), ids=lambda path: path.name)
def test_streamd_takes_each_box(path: Path) -> None:
    config = parse(tomllib.loads(path.read_text()))
    assert config.streams
    assert config.server.listen == "0.0.0.0:8080"
    assert config.webrtc.udp_ports == "8189"


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_manifests_pass_their_schemas(path: Path, version: str) -> None:
    for document in documents(path):
        if document["kind"] != "PodMonitor":
            kubernetes_validate.validate(document, version, strict=True)


def test_the_pod_monitor_passes_its_schema() -> None:
    """By the schema of the Prometheus operator."""
    clients = REPOSITORY / "tests" / "e2e" / "clients"
    monitor = json.dumps(of_kind("PodMonitor", "streamd"))
    done = subprocess.run(["node", clients / "pod-monitor.js"], input=monitor, text=True, check=False)
    assert done.returncode == 0


def test_kustomize_builds_it() -> None:
    if not (kubectl := shutil.which("kubectl")):
        pytest.skip("no kubectl here: put one on PATH to build the manifests")
    built = subprocess.run([kubectl, "kustomize", BOXES], capture_output=True, text=True, check=True)
    made = {(each["kind"], each["metadata"]["name"]): each for each in yaml.safe_load_all(built.stdout)}
    streamd = made["StatefulSet", "streamd"]
    assert streamd["spec"]["replicas"] == 2
    variables = {
        each["name"]: each.get("value") for each in streamd["spec"]["template"]["spec"]["containers"][0]["env"]
    }
    assert variables["STREAMD_MODEL__RUNTIME"] == "remote"
    assert "POD_INDEX" in variables
    for document in made.values():
        if document["kind"] != "PodMonitor":
            kubernetes_validate.validate(document, VERSIONS[-1], strict=True)


def test_boxes_know_every_engine_that_the_autoscaler_may_start() -> None:
    (remote,) = documents(DEPLOY / "kubernetes" / "engine" / "remote.yaml")
    variables = {each["name"]: each["value"] for each in remote["spec"]["template"]["spec"]["containers"][0]["env"]}
    endpoints = json.loads(variables["STREAMD_MODEL__ENDPOINTS"])
    most = of_kind("HorizontalPodAutoscaler", "engine")["spec"]["maxReplicas"]
    assert endpoints == [f"http://engine-{number}.engine:8000" for number in range(most)], "grpc:// needs an extra"
    config = parse({"model": {"runtime": variables["STREAMD_MODEL__RUNTIME"], "endpoints": endpoints}})
    assert config.model.runtime == "remote"


def containers(document: dict[str, Any]) -> list[dict[str, Any]]:
    spec = document["spec"]["template"]["spec"]
    return [*spec.get("initContainers", []), *spec["containers"]]


def test_ports_for_media_are_the_same_inside() -> None:
    """Viewers are told the port that the process listens on."""
    ports = {
        document["metadata"]["name"]: (port["hostPort"], port["containerPort"])
        for path in MANIFESTS
        for document in documents(path)
        if "template" in document["spec"]
        for container in containers(document)
        for port in container.get("ports", [])
        if "hostPort" in port
    }
    assert ports == {"streamd": (8189, 8189), "media-server": (8190, 8190)}
    assert yaml.safe_load((BOXES / "mediamtx.yml").read_text())["webrtcLocalUDPAddress"] == ":8190"


def test_an_engine_gets_its_weights_before_its_model_and_its_number_from_the_autoscaler() -> None:
    engine = of_kind("StatefulSet", "engine")
    assert [container["args"][:2] for container in containers(engine)[:2]] == [
        ["models", "fetch"],
        ["models", "export"],
    ]
    assert "replicas" not in engine["spec"]
    assert of_kind("HorizontalPodAutoscaler", "engine")["spec"]["scaleTargetRef"]["name"] == "engine"


def test_the_image_can_check_who_it_gets_weights_from() -> None:
    """debian:12-slim has no certificates, and its Python only recommends them."""
    image = (REPOSITORY / "Dockerfile").read_text()
    assert "ca-certificates" in image.partition("AS base\n")[2].partition("\nFROM ")[0]


def test_the_media_server_asks_its_viewers_for_the_token() -> None:
    """Else whoever reaches it sees what streamd shows to those with a token only."""
    (container,) = containers(of_kind("Deployment", "media-server"))
    secret = {"secretKeyRef": {"name": "streamd-tokens", "key": "view"}}
    assert {"name": "MTX_AUTHINTERNALUSERS_0_PASS", "valueFrom": secret} in container["env"]
    compose = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    assert "STREAMD_VIEW_TOKEN" in compose["services"]["media-server"]["environment"]["MTX_AUTHINTERNALUSERS_0_PASS"]
    for text in ((BOXES / "mediamtx.yml").read_text(), compose["configs"]["paths"]["content"]):
        (user,) = yaml.safe_load(text)["authInternalUsers"]
        assert user == {"user": "viewer", "permissions": [{"action": "read"}]}


@pytest.mark.parametrize("path", ["deploy/compose.yaml", "configs/compose.yaml"])
def test_compose_files_pass_their_schema(path: str) -> None:
    command: list[str | Path] = [
        sys.executable,
        "-m",
        "check_jsonschema",
        "--builtin-schema",
        "vendor.compose-spec",
        REPOSITORY / path,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
