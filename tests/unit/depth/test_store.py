from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from streamd.depth.models import MODELS, Download, ModelSpec
from streamd.depth.store import ModelStore, default_directories
from streamd.errors import DepthError, ModelMissing, UsageError, WeightsRejected
from tests.support.fileserver import FileServer, serve_file

OFFICIAL = bytes(range(256)) * 4000
SHA256 = hashlib.sha256(OFFICIAL).hexdigest()


class Box:
    """A store whose one model is downloaded from ``server``; ``refuse`` is what the child would say,
    ``known`` how many digits of the digest are published."""

    def __init__(self, root: Path, server: FileServer, known: int = 64) -> None:
        self.refuse = ""
        self.checked: list[bytes] = []
        self.url = server.url
        download = Download(server.url, SHA256[:known], len(OFFICIAL))
        spec = replace(MODELS["midas_small"], download=download)
        own = replace(spec, name="own", download=None)
        models = {spec.name: spec, own.name: own, "embedded": MODELS["embedded"]}
        self.home = root / "models" / spec.name
        self.store = ModelStore(root / "models", root / "cache", models=models, check=self.check)

    def check(self, spec: ModelSpec, file: Path) -> None:
        self.checked.append(file.read_bytes())
        if self.refuse:
            raise WeightsRejected(str(file), self.refuse)

    def fetch(self) -> list[tuple[int, int | None]]:
        reported: list[tuple[int, int | None]] = []
        self.store.fetch("midas_small", lambda done, total: reported.append((done, total)))
        return reported

    def files(self) -> set[str]:
        """What lies in the model's directory, but for the lock."""
        return {path.name for path in self.home.iterdir()} - {".lock"}


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serve_file(OFFICIAL) as server:
        yield server


@pytest.fixture
def box(tmp_path: Path, server: FileServer) -> Box:
    return Box(tmp_path, server)


INSTALLED = {"manifest.json", f"midas_small-{SHA256[:16]}.pt"}


class TestWeights:
    def test_embedded_weights_are_in_the_package(self, box: Box) -> None:
        path, sha256 = box.store.weights("embedded")
        assert path.name == "embedded.safetensors"
        assert sha256 == hashlib.sha256(path.read_bytes()).hexdigest()

    def test_missing_weights_name_the_commands_that_help(self, box: Box) -> None:
        with pytest.raises(
            ModelMissing, match="streamd models fetch midas_small, or streamd models import midas_small"
        ):
            box.store.weights("midas_small")

    def test_unknown_model(self, box: Box) -> None:
        with pytest.raises(UsageError, match="nonsense: unknown"):
            box.store.weights("nonsense")

    def test_file_that_lost_its_tail_is_refused(self, box: Box) -> None:
        box.fetch()
        path, _ = box.store.weights("midas_small")
        os.truncate(path, 1000)
        with pytest.raises(WeightsRejected, match="1,000 bytes are left of 1,024,000; streamd models fetch"):
            box.store.weights("midas_small")

    def test_neither_torch_nor_openvino_is_imported(self) -> None:
        code = "import sys, streamd.depth.store; assert not {'torch', 'timm', 'openvino'} & sys.modules.keys()"
        subprocess.run([sys.executable, "-c", code], check=True)


class TestFetch:
    def test_installs_what_it_downloaded(self, box: Box) -> None:
        reported = box.fetch()
        assert reported[0] == (0, len(OFFICIAL))
        assert reported[-1] == (len(OFFICIAL), len(OFFICIAL))
        path, sha256 = box.store.weights("midas_small")
        assert path.read_bytes() == OFFICIAL
        assert sha256 == SHA256
        assert box.files() == INSTALLED
        assert box.checked == [OFFICIAL]

    def test_the_receipt_names_its_origin(self, box: Box, server: FileServer) -> None:
        box.fetch()
        receipt = json.loads((box.home / "manifest.json").read_text())
        assert receipt["origin"] == server.url
        assert receipt["sha256"] == SHA256
        assert receipt["size"] == len(OFFICIAL)
        assert receipt["official"] is True

    def test_again_asks_for_nothing(self, box: Box, server: FileServer) -> None:
        box.fetch()
        assert box.fetch() == []
        assert len(server.requests) == 1

    def test_again_mends_a_damaged_file(self, box: Box) -> None:
        box.fetch()
        path, _ = box.store.weights("midas_small")
        path.write_bytes(bytes(len(OFFICIAL)))
        box.fetch()
        assert path.read_bytes() == OFFICIAL

    def test_does_not_fill_the_disk(self, box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("streamd.depth.download.MAX_WEIGHTS_BYTES", len(OFFICIAL) - 1)
        with pytest.raises(DepthError, match="no network has so much"):
            box.fetch()
        assert box.files() == set()

    def test_carries_on_by_itself_after_a_cut(self, box: Box, server: FileServer) -> None:
        server.cut_after = [300_000, 200_000]
        box.fetch()
        assert server.requests == [(None, 200), ("bytes=300000-", 206), ("bytes=500000-", 206)]
        assert box.files() == INSTALLED

    def test_carries_on_in_the_next_run(self, box: Box, server: FileServer) -> None:
        server.cut_after = [300_000, 0]
        with pytest.raises(DepthError, match=r"cut after 300,000 bytes .*; try again to carry on"):
            box.fetch()
        reported = box.fetch()
        assert server.requests[-1] == ("bytes=300000-", 206)
        assert reported[0] == (300_000, len(OFFICIAL))
        assert box.store.weights("midas_small")[1] == SHA256

    def test_begins_anew_when_the_server_ignores_range(self, box: Box, server: FileServer) -> None:
        server.knows_range = False
        server.cut_after = [300_000]
        box.fetch()
        assert server.requests == [(None, 200), ("bytes=300000-", 200)]
        assert box.store.weights("midas_small")[1] == SHA256

    def test_begins_anew_when_the_file_changed_meanwhile(self, box: Box, server: FileServer) -> None:
        server.content = b"an older file" * 50_000
        server.cut_after = [300_000, 0]
        with pytest.raises(DepthError, match="cut after"):
            box.fetch()
        server.content, server.etag = OFFICIAL, '"v2"'
        box.fetch()
        assert server.requests[-1] == ("bytes=300000-", 200)
        assert box.store.weights("midas_small")[1] == SHA256

    def test_what_had_come_whole_is_not_asked_for_again(self, box: Box, server: FileServer) -> None:
        class OutOfMemory(DepthError):
            pass

        def fail(spec: ModelSpec, file: Path) -> None:
            raise OutOfMemory("the child was killed")

        healthy, box.store._check = box.store._check, fail
        with pytest.raises(OutOfMemory):
            box.fetch()
        box.store._check = healthy
        box.fetch()
        assert len(server.requests) == 1
        assert box.files() == INSTALLED

    def test_wrong_digest_leaves_nothing(self, box: Box, server: FileServer) -> None:
        server.content = b"something else"
        with pytest.raises(WeightsRejected, match=f"its sha256 is .*that of the official file {SHA256[:8]}"):
            box.fetch()
        assert box.files() == set()
        assert box.checked == []

    def test_the_first_download_is_the_pin_where_no_digest_is_published(
        self, tmp_path: Path, server: FileServer
    ) -> None:
        box = Box(tmp_path, server, known=0)
        box.fetch()
        assert box.fetch() == []
        path, _ = box.store.weights("midas_small")
        path.write_bytes(bytes(len(OFFICIAL)))
        server.content = b"something else"
        with pytest.raises(WeightsRejected, match=rf"that of the first download {SHA256[:8]}\.\.\.; if you trust it, "):
            box.fetch()
        server.content = OFFICIAL
        box.fetch()
        assert path.read_bytes() == OFFICIAL
        assert json.loads((box.home / "manifest.json").read_text())["official"] is None

    def test_file_that_does_not_load_leaves_nothing(self, box: Box, server: FileServer) -> None:
        box.refuse = "3 keys missing"
        with pytest.raises(WeightsRejected, match=r"weights\.pt: weights refused: 3 keys missing"):
            box.fetch()
        assert box.files() == set()

    def test_not_found_is_one_line(self, box: Box, server: FileServer) -> None:
        server.status = 404
        with pytest.raises(DepthError, match=r"weights\.pt: the server answers 404 Not Found$"):
            box.fetch()

    def test_offline_is_one_line(self, tmp_path: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
        box = Box(tmp_path, FileServer(b"", url=f"http://127.0.0.1:{port}/weights.pt"))
        with pytest.raises(DepthError, match=f"cannot reach 127.0.0.1:{port}: connection refused$"):
            box.fetch()

    def test_full_disk_is_one_line(self, box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=10))
        with pytest.raises(DepthError, match="disk full: 1 MB needed, 0 MB free"):
            box.fetch()

    def test_what_progress_raises_ends_it_and_keeps_what_came(self, box: Box, server: FileServer) -> None:
        def stop(done: int, total: int | None) -> None:
            if done:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            box.store.fetch("midas_small", stop)
        had = (box.home / "download.part").stat().st_size
        assert had > 0
        assert box.fetch()[0] == (had, len(OFFICIAL))

    @pytest.mark.parametrize(("name", "reason"), [("own", "models import own FILE"), ("embedded", "built in")])
    def test_nothing_to_fetch(self, box: Box, name: str, reason: str) -> None:
        with pytest.raises(UsageError, match=reason):
            box.store.fetch(name, lambda done, total: None)


class TestImport:
    def test_official_file(self, box: Box, tmp_path: Path) -> None:
        (tmp_path / "midas_v21_small_256.pt").write_bytes(OFFICIAL)
        receipt = box.store.import_file("midas_small", tmp_path / "midas_v21_small_256.pt")
        assert receipt.official is True
        assert receipt.origin == str(tmp_path / "midas_v21_small_256.pt")
        assert box.store.weights("midas_small")[1] == SHA256
        assert box.files() == INSTALLED

    def test_other_file_is_taken_and_called_so(self, box: Box, tmp_path: Path) -> None:
        (tmp_path / "tuned.safetensors").write_bytes(b"finetuned")
        assert box.store.import_file("midas_small", tmp_path / "tuned.safetensors").official is False
        status = {status.spec.name: status for status in box.store.status()}
        assert status["midas_small"].note == f"not the official file, from {tmp_path}/tuned.safetensors"
        assert box.store.weights("midas_small")[0].read_bytes() == b"finetuned"

    def test_replaces_what_was_there(self, box: Box, tmp_path: Path) -> None:
        box.fetch()
        (tmp_path / "tuned.pt").write_bytes(b"finetuned")
        box.store.import_file("midas_small", tmp_path / "tuned.pt")
        assert len(box.files()) == 2
        assert box.store.weights("midas_small")[0].read_bytes() == b"finetuned"

    def test_file_that_does_not_load_changes_nothing(self, box: Box, tmp_path: Path) -> None:
        box.fetch()
        (tmp_path / "bad.pt").write_bytes(b"bad")
        box.refuse = "not a checkpoint"
        with pytest.raises(WeightsRejected, match=r"/bad\.pt: weights refused: not a checkpoint"):
            box.store.import_file("midas_small", tmp_path / "bad.pt")
        assert box.files() == INSTALLED
        assert box.store.weights("midas_small")[1] == SHA256

    def test_file_that_is_not_there(self, box: Box, tmp_path: Path) -> None:
        with pytest.raises(DepthError, match=r"/none\.pt: no such file or directory$"):
            box.store.import_file("midas_small", tmp_path / "none.pt")

    @pytest.mark.parametrize(
        ("place", "reason"), [("/dev/zero", "is a pipe or a device"), ("sparse", "is larger than 8 GB")]
    )
    def test_what_has_no_end_does_not_fill_the_disk(self, box: Box, tmp_path: Path, place: str, reason: str) -> None:
        with open(tmp_path / "sparse", "wb") as file:
            file.truncate((8 << 30) + 1)
        with pytest.raises(DepthError, match=f"{place}: {reason}"):
            box.store.import_file("midas_small", tmp_path / place)

    def test_one_brings_a_file_that_may_not_be_fetched(self, box: Box) -> None:
        own = replace(MODELS["midas_small"], name="own", download=None, bring="res50.pth of example.org/leres")
        store = ModelStore(box.home.parent, box.home, models={"own": own}, check=box.check)
        hint = "streamd models import own FILE, which is res50.pth of example.org/leres"
        assert store.status()[0].note == f"missing: {hint}"
        with pytest.raises(UsageError, match=f"nothing to fetch; {hint}$"):
            store.fetch("own", lambda done, total: None)

    def test_built_in_model(self, box: Box, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="built in"):
            box.store.import_file("embedded", tmp_path / "any.pt")


class TestStatusAndVerify:
    def test_fresh_machine(self, box: Box) -> None:
        notes = {status.spec.name: status.note for status in box.store.status()}
        assert notes["embedded"] == "built in"
        assert notes["midas_small"] == (
            "missing: streamd models fetch midas_small, or streamd models import midas_small FILE; "
            f"from {box.url} (1 MB)"
        )
        assert [result.model for result in box.store.verify()] == ["embedded"]

    def test_all_is_well(self, box: Box) -> None:
        box.fetch()
        results = box.store.verify()
        assert [(result.model, result.ok) for result in results] == [("midas_small", True), ("embedded", True)]
        assert SHA256 in results[0].detail

    def test_a_flipped_bit(self, box: Box) -> None:
        box.fetch()
        path, _ = box.store.weights("midas_small")
        content = bytearray(path.read_bytes())
        content[5000] ^= 1
        path.write_bytes(content)
        result = box.store.verify()[0]
        assert not result.ok
        assert "its sha256 is no longer" in result.detail

    def test_a_file_that_is_gone(self, box: Box) -> None:
        box.fetch()
        box.store.weights("midas_small")[0].unlink()
        assert not box.store.verify()[0].ok
        assert box.store.status()[0].note.startswith("damaged:")

    def test_an_unreadable_receipt_means_install_again(self, box: Box) -> None:
        box.fetch()
        (box.home / "manifest.json").write_text("{")
        assert box.store.status()[0].note.startswith("missing:")
        box.fetch()
        assert box.store.verify()[0].ok


@pytest.mark.parametrize(
    ("environment", "models", "cache"),
    [
        ({"STREAMD_HOME": "/h", "STATE_DIRECTORY": "/s"}, "/h/models", "/h/cache"),
        ({"STATE_DIRECTORY": "/s:/t", "CACHE_DIRECTORY": "/c"}, "/s/models", "/c"),
        ({"XDG_DATA_HOME": "/d", "XDG_CACHE_HOME": "/x"}, "/d/streamd/models", "/x/streamd"),
        ({}, "~/.local/share/streamd/models", "~/.cache/streamd"),
    ],
)
def test_default_directories(environment: dict[str, str], models: str, cache: str) -> None:
    assert default_directories(environment) == (Path(models).expanduser(), Path(cache).expanduser())


def test_without_a_home_it_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as where there is no entry in /etc/passwd
    with pytest.raises(UsageError, match="set STREAMD_HOME or HOME"):
        default_directories({})
    assert default_directories({"STATE_DIRECTORY": "/s", "CACHE_DIRECTORY": "/c"}) == (Path("/s/models"), Path("/c"))
