"""The model over HTTP, with real workers: listed, changed, fetched, asked for one picture."""

from __future__ import annotations

import asyncio
import io
import json
import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from streamd.config.sections import ModelConfig
from streamd.depth.guest import Guest
from streamd.depth.models import ModelSpec
from streamd.depth.models.manifest import read_manifest
from streamd.depth.service import DepthService
from streamd.depth.store import ModelStore
from streamd.errors import Busy, ModelMissing
from streamd.host.memory import Step
from streamd.web.context import CONTEXT
from tests.integration.conftest import Installed, MakeService
from tests.integration.web_site import CONTROL_TOKEN, VIEW_TOKEN, served
from tests.support.small_networks import write_ir, write_manifest
from tests.support.waiting import timeout, until

pytestmark = pytest.mark.timeout(90, func_only=True)

PICTURE = cv2.imencode(".png", np.random.default_rng(0).integers(0, 255, (90, 160, 3), np.uint8))[1].tobytes()


@pytest.fixture
def here(tmp_path: Path, embedded: Installed, midas_weights: Path) -> ModelStore:
    store = ModelStore(tmp_path / "here", embedded.cache, check=lambda *_: None)
    store.import_file("midas_small", midas_weights)
    return store


@pytest.fixture
async def live(make_service: MakeService, here: ModelStore) -> DepthService:
    return await ready(make_service(service={"store": here}))


async def ready(service: DepthService) -> DepthService:
    async with timeout(20):
        while not service.is_ready(0.0):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    return service


def by_name(answer: Any) -> dict[str, Any]:
    return {model["name"]: model for model in answer["models"]}


async def test_the_list_says_what_there_is(live: DepthService, here: ModelStore) -> None:
    async with served(service=live, store=here) as site:
        answer = (await site.get("/api/v1/models")).json
    assert answer["model"]["name"] == "embedded"
    assert answer["model"]["input_size"] == answer["model"]["full_input_size"] == 256
    models = by_name(answer)
    embedded, midas = models["embedded"], models["midas_small"]
    assert (embedded["running"], embedded["wanted"], embedded["built_in"], embedded["coarse"]) == (True,) * 4
    assert (midas["running"], midas["wanted"], midas["built_in"], midas["coarse"]) == (False,) * 4
    assert midas["installed"]
    assert midas["licence"] == "MIT"
    assert midas["official"] is False, "random weights are not those that were published"
    assert midas["size_bytes"] > 1e6
    assert not midas["can_fetch"], "it is here"
    assert midas["fetch"] is None
    assert midas["note"].startswith("not the official file, from ")
    assert "/" not in midas["note"], "where files are on this machine is nobody's business"


async def test_the_list_tells_no_folders_of_damaged_files(live: DepthService, here: ModelStore) -> None:
    here.weights("midas_small")[0].write_bytes(b"cut short")
    async with served(service=live, store=here) as site:
        note = by_name((await site.get("/api/v1/models")).json)["midas_small"]["note"]
    assert note.startswith("damaged: midas_small/")
    assert str(here.data) not in note


async def test_the_precision_of_a_manifests_network_may_be_changed(make_service: MakeService, tmp_path: Path) -> None:
    manifest = write_manifest(write_ir(tmp_path / "small.xml", (1, 3, 64, 64)))
    service = await ready(make_service(name=str(manifest)))
    async with served(service=service) as site:
        reply = await site.put("/api/v1/model", precision="fp32")
    assert (reply.status, reply.json["precision"]) == (200, "fp32")
    assert (reply.json["name"], reply.json["wanted"]) == ("small", "small"), "and no path"


async def test_put_changes_over_and_tells_everyone_at_once(live: DepthService, here: ModelStore) -> None:
    told: list[dict[str, Any]] = []
    async with served(service=live, store=here) as site, site.http.get(f"{site.url}/api/v1/events") as events:
        async with timeout(20):
            while b"event: statistics" not in await events.content.readline():
                pass
        reply = await site.put("/api/v1/model", name="midas_small", precision="fp32")
        assert (reply.status, reply.json["name"], reply.json["wanted"]) in (
            (200, "midas_small", "midas_small"),
            (202, "embedded", "midas_small"),
        )
        async with timeout(20):
            while not told or told[-1]["name"] != "midas_small":
                if (await events.content.readline()) == b"event: model\n":
                    told.append(json.loads((await events.content.readline()).removeprefix(b"data: ")))
        assert by_name((await site.get("/api/v1/models")).json)["midas_small"]["running"]
        same = await site.put("/api/v1/model", precision="fp32")
        assert (same.status, same.json["name"]) == (200, "midas_small"), "a precision alone leaves the model"
    assert told[0]["wanted"] == "midas_small"
    assert told[0]["name"] == "embedded"


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        ({"name": "nonsense"}, 422, "there are: "),
        ({"name": 5}, 422, "there are: "),
        ({"precision": "fp99"}, 422, "model.precision"),
        ({"name": "embedded", "weights": "/etc/passwd"}, 422, "there are: name, precision"),
        ({}, 422, "send name"),
        ({"name": "midas_small"}, 409, "no weights on this machine: streamd models fetch midas_small"),
    ],
)
async def test_what_cannot_be_is_refused_and_changes_nothing(
    make_service: MakeService, body: dict[str, Any], status: int, reason: str
) -> None:
    service = await ready(make_service())
    async with served(service=service) as site:
        reply = await site.put("/api/v1/model", **body)
        assert reply.status == status
        assert reason in reply.json["error"]["message"]
        state = (await site.get("/api/v1/streams")).json["model"]
    assert (state["name"], state["wanted"]) == ("embedded", "embedded")


async def test_only_control_changes_anything(live: DepthService, here: ModelStore) -> None:
    tokens: dict[str, Any] = {"view_tokens": (VIEW_TOKEN,), "control_tokens": (CONTROL_TOKEN,)}
    async with served(service=live, store=here, **tokens) as site:
        auth = {"Authorization": f"Bearer {VIEW_TOKEN}"}
        assert (await site.get("/api/v1/models", **auth)).status == 200
        body = b'{"name": "midas_small"}'
        assert (await site.ask("PUT", "/api/v1/model", body, **auth)).status == 403
        assert (await site.ask("POST", "/api/v1/models/midas_small/fetch", None, **auth)).status == 403
    assert live.wanted.name == "embedded"


async def test_fetch_is_refused_with_the_reason(make_service: MakeService, here: ModelStore) -> None:
    service = await ready(make_service())
    async with served(service=service) as site:

        async def fetch(name: str) -> tuple[int, str]:
            return (await site.ask("POST", f"/api/v1/models/{name}/fetch")).error

        assert (await site.ask("POST", "/api/v1/models/embedded/fetch")).status == 200
        assert await fetch("nonsense") == (422, "bad_value")
        assert await fetch("midas_small") == (409, "not_fetchable"), "model.download is false here"


async def test_fetch_begins_in_the_background(make_service: MakeService, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[str] = []
    service = make_service(download=True)
    monkeypatch.setattr(service, "fetch", begun.append)
    await ready(service)
    async with served(service=service) as site:
        reply = await site.ask("POST", "/api/v1/models/midas_small/fetch")
    assert (reply.status, begun) == (202, ["midas_small"])


async def test_a_picture_may_ask_for_another_model(live: DepthService, here: ModelStore) -> None:
    """Which gets a worker of its own: that of the streams stays."""
    pid = live.worker_pid
    async with served(service=live, store=here) as site:

        async def depth(model: str) -> np.lib.npyio.NpzFile:
            path = f"/api/v1/depth?format=npz&model={model}"
            reply = await site.ask("POST", path, PICTURE, Content_Type="image/png")
            assert reply.status == 200, reply.body
            return np.load(io.BytesIO(reply.body))

        answers = [await depth(model) for model in ("midas_small", "embedded", "midas_small")]
        unknown = await site.ask("POST", "/api/v1/depth?model=nonsense", PICTURE, Content_Type="image/png")
    assert [str(answer["model"]) for answer in answers] == ["midas_small", "embedded", "midas_small"]
    np.testing.assert_array_equal(answers[0]["network_output"], answers[2]["network_output"])
    assert unknown.error == (422, "bad_value")
    assert live.worker_pid == pid


async def test_a_picture_may_not_ask_for_what_is_not_here(make_service: MakeService, store: ModelStore) -> None:
    service = await ready(make_service())
    async with served(service=service, store=store) as site:
        reply = await site.ask("POST", "/api/v1/depth?model=midas_small", PICTURE, Content_Type="image/png")
    assert reply.error == (409, "not_running")
    with pytest.raises(ModelMissing):
        store.weights("midas_small")


async def test_a_picture_may_not_ask_for_another_model_while_memory_is_short(
    live: DepthService, here: ModelStore
) -> None:
    async with served(service=live, store=here) as site:
        site.app[CONTEXT].memory.update(Step.SHED_VIEWS)
        refused = await site.ask("POST", "/api/v1/depth?model=midas_small", PICTURE, Content_Type="image/png")
        live_one = await site.ask("POST", "/api/v1/depth?model=embedded", PICTURE, Content_Type="image/png")
    assert refused.error == (503, "memory_short")
    assert live_one.status == 200


async def test_a_picture_may_not_ask_for_a_model_that_memory_has_no_room_for(
    live: DepthService, here: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamd.depth.guest.memory_free_bytes", lambda: 300_000_000)
    async with served(service=live, store=here) as site:
        reply = await site.ask("POST", "/api/v1/depth?model=midas_small", PICTURE, Content_Type="image/png")
        live_one = await site.ask("POST", "/api/v1/depth?model=embedded", PICTURE, Content_Type="image/png")
    assert reply.error == (503, "busy")
    assert "too little memory for another model (MiDaS" in reply.json["error"]["message"]
    assert "500 MB are needed, 300 are free" in reply.json["error"]["message"]
    assert live_one.status == 200


def test_another_model_measures_nothing_and_is_never_in_int8(here: ModelStore) -> None:
    guest = Guest(lambda: ModelConfig(name="embedded", precision="int8"), here)
    try:
        with guest.service("midas_small") as service:
            assert service.wait_ready(60).precision in ("fp32", "bf16")
            assert service._supervisor._profiling._thread is None
            assert service.status.message is None
    finally:
        guest.close()


def test_another_model_ends_when_memory_is_short_whoever_uses_it(here: ModelStore) -> None:
    guest = Guest(lambda: ModelConfig(name="embedded"), here)
    try:
        with guest.service("midas_small") as service:
            service.wait_ready(60)
            guest.end()
            until("its worker has gone", lambda: service.worker_pid is None)
            assert guest.worker_memory() == 0
            with pytest.raises(Busy):
                guest._enter("embedded")
        with guest.service("midas_small") as another:
            another.wait_ready(60)
    finally:
        guest.close()


async def test_messages_name_files_without_their_folders(make_service: MakeService, here: ModelStore) -> None:
    here.weights("midas_small")[0].write_bytes(b"cut short")
    service = await ready(make_service(name="midas_small", service={"store": here}))
    async with served(service=service, store=here) as site:
        message = (await site.get("/api/v1/models")).json["model"]["message"]
        refused = await site.put("/api/v1/model", name="midas_small", precision="auto")
    for told in (message, refused.json["error"]["message"]):
        assert "midas_small/midas_small-" in told
        assert str(here.data) not in told


async def test_ready_names_no_folders(make_service: MakeService, here: ModelStore) -> None:
    here.weights("midas_small")[0].write_bytes(b"cut short")
    service = make_service(name="midas_small", fallback="", service={"store": here})
    async with served(service=service, store=here) as site:
        await site.until(lambda: service.failure, 20)
        reply = await site.get("/readyz")
    assert reply.status == 503
    assert "weights refused" in reply.body.decode()
    assert str(here.data) not in reply.body.decode()


async def test_a_manifest_is_not_read_on_the_loop(
    make_service: MakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest, readers = write_manifest(write_ir(tmp_path / "small.xml", (1, 3, 64, 64))), []
    service = await ready(make_service(name=str(manifest)))

    def read(path: Path) -> ModelSpec:
        readers.append(threading.current_thread())
        return read_manifest(path)

    monkeypatch.setattr("streamd.depth.models.manifest.read_manifest", read)
    async with served(service=service) as site:
        reply = await site.put("/api/v1/model", precision="auto")
    assert reply.status in (200, 202)
    assert threading.main_thread() not in readers


def test_the_memory_of_another_model_is_given_back_without_a_wait(
    here: ModelStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    guest = Guest(lambda: ModelConfig(name="embedded"), here)
    released = threading.Event()
    try:
        with guest.service("midas_small") as service:
            service.wait_ready(60)
            assert guest.worker_memory() > 1e6
        close = service.close
        monkeypatch.setattr(service, "close", lambda: released.wait(30) and close())
        guest.recycle()
        assert service.worker_pid, "it is not over yet"
        released.set()
        until("its worker has gone", lambda: service.worker_pid is None)
    finally:
        released.set()
        guest.close()
    assert guest.worker_memory() == 0
