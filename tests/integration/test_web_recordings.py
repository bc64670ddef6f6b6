"""Recording over HTTP: start, stop, list, download, seek."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import av
import pytest

from streamd.config.sections import RecordingConfig
from streamd.sinks.recording.library import Library
from streamd.states import StreamState
from streamd.web import recording_files, requests
from streamd.web.description import describe_stream
from streamd.web.recording_files import ARCHIVE
from tests.integration.web_site import Reply, Site, served
from tests.support.waiting import timeout

pytestmark = pytest.mark.timeout(30)

RECORDING = "/api/v1/streams/porch/recording"
LIST = "/api/v1/recordings"
NAME = "2026-11-25T03-41-23.500Z-depth.mp4"
DATA = os.urandom(1_000_000)
T = TypeVar("T")


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    rules = RecordingConfig(directory=tmp_path / "recordings", min_free_gb=0)
    async with served(recording=rules, streams={"porch": {"record": ()}}) as site:
        await site.film()
        yield site


async def listed(site: Site, query: str = "") -> list[dict[str, Any]]:
    reply = await site.get(LIST + query)
    assert reply.status == 200, reply.body
    found: list[dict[str, Any]] = reply.json["recordings"]
    return found


class TestStartAndStop:
    async def test_there_and_back(self, site: Site) -> None:
        assert (await site.ask("DELETE", RECORDING)).json["recording"] is False
        started = await site.ask("PUT", RECORDING)
        assert (started.status, started.json["recording_views"], started.json["recording_error"]) == (
            200,
            ["depth"],
            None,
        )
        await site.film(count=3)
        [segment] = await listed_when_there(site)
        assert (segment["stream"], segment["view"]) == ("porch", "depth")
        assert (segment["complete"], segment["cut_short"]) == (False, False)
        stopped = await site.ask("DELETE", RECORDING)
        assert (stopped.json["recording"], stopped.json["viewers"]) == (False, 0)
        [segment] = await listed(site)
        assert (segment["complete"], segment["cut_short"]) == (True, False)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", segment["started"])
        whole = await site.get(f"/recordings/{segment['path']}")
        assert len(whole.body) == segment["size_bytes"]

    async def test_views_are_added_and_none_is_begun_anew(self, site: Site) -> None:
        await site.put(RECORDING, views=["depth"])
        recorder = site.stream()._recorders._recordings["depth"]._recorder
        reply = await site.put(RECORDING, views=["depth", "source"])
        assert reply.json["recording_views"] == ["depth", "source"]
        assert site.stream()._recorders._recordings["depth"]._recorder is recorder

    @pytest.mark.parametrize("by_query", [False, True])
    async def test_the_named_views_are_stopped_and_no_others(self, site: Site, by_query: bool) -> None:
        await site.put(RECORDING, views=["depth", "source", "gray"])
        if by_query:
            reply = await site.ask("DELETE", f"{RECORDING}?view=depth&view=gray")
        else:
            body = b'{"views": ["depth", "gray"]}'
            reply = await site.ask("DELETE", RECORDING, body, Content_Type="application/json")
        assert (reply.json["recording_views"], reply.json["recording_active"]) == (["source"], ["source"])
        assert (await site.ask("DELETE", RECORDING)).json["recording_views"] == []

    async def test_stopping_what_is_no_view(self, site: Site) -> None:
        await site.put(RECORDING)
        assert (await site.ask("DELETE", f"{RECORDING}?view=x-ray")).error == (422, "bad_value")
        assert describe_stream(site.stream().status)["recording"] is True

    async def test_other_settings_change_nothing_about_it(self, site: Site) -> None:
        """``record`` does: then its views are recorded, and no others."""
        path = "/api/v1/streams/porch"
        await site.put(RECORDING, views=["gray"])
        await site.ask("PATCH", path, b'{"max_fps": 5}', Content_Type="application/json")
        await site.until(lambda: site.stream().config.max_fps == 5)
        assert (await site.get(path)).json["recording_views"] == ["gray"]
        await site.ask("PATCH", path, b'{"record": ["source"]}', Content_Type="application/json")
        await site.until(lambda: describe_stream(site.stream().status)["recording_views"] == ["source"])

    async def test_what_its_settings_name_when_nothing_is_named(self, tmp_path: Path) -> None:
        rules = RecordingConfig(directory=tmp_path)
        async with served(recording=rules, streams={"porch": {"record": ("gray", "overlay")}}) as site:
            await site.film()
            await site.ask("DELETE", RECORDING)
            assert (await site.put(RECORDING)).json["recording_views"] == ["gray", "overlay"]

    async def test_nowhere_to_record_to(self) -> None:
        async with served() as site:
            reply = await site.put(RECORDING)
            assert reply.error == (409, "not_configured")
            assert "recording.directory" in reply.json["error"]["message"]
            assert await listed(site) == []
            assert (await site.get(f"/recordings/porch/{NAME}")).error == (404, "unknown_recording")

    async def test_a_stream_that_does_not_run(self, site: Site) -> None:
        site.stream()._states.enter(StreamState.FAILED, "test")
        assert (await site.put(RECORDING)).error == (409, "not_running")

    async def test_one_that_is_about_to_stop_begins_nothing(self, site: Site) -> None:
        site.stream().stop()
        assert (await site.put(RECORDING)).json["recording"] is False

    async def test_a_full_disk_is_reported(self, tmp_path: Path) -> None:
        async with served(recording=RecordingConfig(directory=tmp_path, min_free_gb=1e9)) as site:
            await site.film(count=3)
            await site.until(lambda: site.stream().status.recording_error)
            describe_stream = (await site.get("/api/v1/streams/porch")).json
            assert (describe_stream["recording"], describe_stream["recording_active"]) == (False, [])
            assert describe_stream["recording_views"] == ["depth"], "it is tried again"
            assert "GB free" in describe_stream["recording_error"]
            assert describe_stream["state"] == "running"

    @pytest.mark.parametrize(
        ("body", "error"),
        [
            (b'{"views": ["x-ray"]}', (422, "bad_value")),
            (b'{"views": [["depth"]]}', (422, "bad_value")),
            (b'{"views": "depth"}', (422, "bad_value")),
            (b'{"view": ["depth"]}', (422, "bad_value")),
            (b"[]", (422, "bad_value")),
            (b"{", (400, "bad_request")),
            (b" " * 70_000, (413, "too_large")),
        ],
    )
    async def test_what_cannot_be_asked(self, site: Site, body: bytes, error: tuple[int, str]) -> None:
        assert (await site.ask("PUT", RECORDING, body, Content_Type="application/json")).error == error
        assert (await site.ask("PUT", RECORDING, b"x", Content_Type="text/plain")).error == (415, "wrong_type")
        assert (await site.ask("PUT", "/api/v1/streams/nobody/recording")).error == (404, "unknown_stream")
        assert not describe_stream(site.stream().status)["recording_views"]


async def listed_when_there(site: Site) -> list[dict[str, Any]]:
    async with timeout(5):
        while not (found := await listed(site)):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        return found


@pytest.fixture
def file(site: Site) -> Path:
    directory = site.recording.directory
    assert directory is not None
    path = directory / "porch" / NAME
    path.parent.mkdir(parents=True)
    path.write_bytes(DATA)
    return path


class TestList:
    async def test_pages(self, site: Site, file: Path) -> None:
        for minute in range(10, 15):
            (file.parent / NAME.replace("03-41", f"03-{minute}")).touch()
        seen: list[str] = []
        query: str | None = ""
        while query is not None:
            page = (await site.get(f"{LIST}?limit=2{query}")).json
            seen += [segment["path"] for segment in page["recordings"]]
            query = f"&before={page['next']}" if page["next"] else None
        assert seen == sorted(seen, reverse=True)
        assert len(seen) == 6
        assert [s["cut_short"] for s in await listed(site)] == [True] * 6, "none of them is a whole file"
        before = await listed(site, "?before=2026-11-25T03:12:00Z")
        assert [segment["started"][14:16] for segment in before] == ["11", "10"]
        assert await listed(site, "?stream=yard") == []

    @pytest.mark.parametrize("query", ["limit=0", "limit=1001", "limit=x", "before=yesterday", "before=%00"])
    async def test_what_cannot_be_asked(self, site: Site, query: str) -> None:
        assert (await site.get(f"{LIST}?{query}")).error == (422, "bad_value")


class TestDownload:
    PATH = f"/recordings/porch/{NAME}"

    async def test_all_of_it(self, site: Site, file: Path) -> None:
        reply = await site.get(self.PATH)
        assert (reply.status, reply.body) == (200, DATA)
        assert reply.headers["Content-Type"] == "video/mp4"
        assert reply.headers["Accept-Ranges"] == "bytes"
        assert reply.headers["X-Content-Type-Options"] == "nosniff"

    @pytest.mark.parametrize(
        ("range", "first", "last"),
        [
            ("bytes=0-0", 0, 0),
            ("bytes=500000-", 500_000, 999_999),
            ("bytes=-7", 999_993, 999_999),
            ("bytes=9-2000000", 9, 999_999),
        ],
    )
    async def test_a_part(self, site: Site, file: Path, range: str, first: int, last: int) -> None:
        reply = await site.get(self.PATH, Range=range)
        assert (reply.status, reply.body) == (206, DATA[first : last + 1])
        assert reply.headers["Content-Range"] == f"bytes {first}-{last}/1000000"
        assert reply.headers["Content-Length"] == str(last - first + 1)

    async def test_a_part_that_is_not_there(self, site: Site, file: Path) -> None:
        reply = await site.get(self.PATH, Range="bytes=1000000-")
        assert reply.error == (416, "no_such_range")
        assert reply.headers["Content-Range"] == "bytes */1000000"

    async def test_head(self, site: Site, file: Path) -> None:
        reply = await site.ask("HEAD", self.PATH)
        assert (reply.status, reply.headers["Content-Length"], reply.body) == (200, "1000000", b"")
        part = await site.ask("HEAD", self.PATH, Range="bytes=5-9")
        assert (part.status, part.headers["Content-Length"]) == (206, "5")

    async def test_only_if_it_is_the_same(self, site: Site, file: Path) -> None:
        before = await site.get(self.PATH, Range="bytes=0-4")
        for validator in (before.headers["ETag"], before.headers["Last-Modified"]):
            assert (await site.get(self.PATH, Range="bytes=5-9", If_Range=validator)).status == 206
        assert (await site.get(self.PATH, If_None_Match=before.headers["ETag"])).status == 304
        with file.open("ab") as written:
            written.write(b"more")
        os.utime(file, (1, 1))
        for validator in (before.headers["ETag"], before.headers["Last-Modified"]):
            changed = await site.get(self.PATH, Range="bytes=5-9", If_Range=validator)
            assert (changed.status, len(changed.body)) == (200, 1_000_004)

    async def test_a_file_that_becomes_shorter_meanwhile_is_not_sent_as_whole(
        self, site: Site, file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(recording_files, "CHUNK_BYTES", 400_000)
        read = recording_files.Archive.read

        async def shrink(archive: Any, descriptor: int, offset: int, count: int) -> bytes:
            os.truncate(file, 400_000)
            return await read(archive, descriptor, offset, count)

        monkeypatch.setattr(recording_files.Archive, "read", shrink)
        with pytest.raises(aiohttp.ClientPayloadError):
            await site.get(self.PATH)
        await site.until(lambda: site.app[ARCHIVE].downloads == 0)

    @pytest.mark.parametrize(
        "path",
        [
            "../secret.txt",
            "..%2fsecret.txt",
            "%2e%2e/secret.txt",
            "porch/..%2f..%2fsecret.txt",
            "porch%2f..%2f..%2fsecret.txt",
            "%252e%252e%252fsecret.txt",
            "porch/..%5c..%5csecret.txt",
            "%2fetc%2fpasswd",
            "/etc/passwd",
            "porch/%00",
            f"porch/{NAME}%00",
            f"porch/{NAME}%0a",
            f"porch/{NAME}/",
            "porch/%ff%fe",
            f"porch/{'x' * 4000}",
            "link/" + NAME,
            "porch/2026-11-25T03-41-24.500Z-depth.mp4",
        ],
    )
    async def test_nothing_else_can_be_had(self, site: Site, file: Path, path: str) -> None:
        root = file.parent.parent
        (root.parent / "secret.txt").write_text("secret")
        (root.parent / "elsewhere").mkdir()
        (root.parent / "elsewhere" / NAME).write_text("secret")
        (root / "link").symlink_to(root.parent / "elsewhere")
        (file.parent / "2026-11-25T03-41-24.500Z-depth.mp4").symlink_to(root.parent / "secret.txt")
        status, body = await raw(site, f"/recordings/{path}")
        assert status == 404
        assert b"secret\n" not in body
        assert b"root:" not in body

    async def test_there_are_places_for_so_many(self, site: Site, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(recording_files, "MAX_DOWNLOADS", 0)
        reply = await site.get(self.PATH)
        assert reply.error == (503, "full")
        assert "Retry-After" in reply.headers

    async def test_one_who_does_not_read_is_cut_off(
        self, site: Site, file: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(recording_files, "STALLED_S", 0.2)
        os.truncate(file, 200_000_000)
        async with site.http.get(site.url + self.PATH) as response:
            assert response.status == 200
            await site.until(lambda: site.app[ARCHIVE].downloads == 0)
            response.close()


class TestDelete:
    PATH = f"/recordings/porch/{NAME}"

    async def test_it_goes(self, site: Site, file: Path) -> None:
        assert (await site.ask("DELETE", self.PATH)).status == 204
        assert os.listdir(file.parent) == []
        assert (await site.ask("DELETE", self.PATH)).error == (404, "unknown_recording")

    async def test_not_one_that_is_being_recorded(self, site: Site) -> None:
        await site.put(RECORDING)
        await site.film(count=3)
        [segment] = await listed_when_there(site)
        assert (segment["complete"], segment["cut_short"]) == (False, False)
        path = f"/recordings/{segment['path']}"
        assert (await site.ask("DELETE", path)).error == (409, "being_recorded")
        await site.ask("DELETE", RECORDING)
        assert (await site.ask("DELETE", path)).status == 204
        assert await listed(site) == []

    @pytest.mark.parametrize(
        "path",
        [
            "/recordings/porch/secret.txt",
            f"/recordings/porch%5C{NAME}",
            f"/recordings/..%5Cporch%5C{NAME}",
            f"/recordings/%2e%2e/porch/{NAME}",
            f"/recordings/porch/%2e%2e/porch/{NAME}",
            f"/recordings/porch%2f{NAME}%00",
            f"/recordings/link/{NAME}",
            "/recordings/porch/" + NAME.replace("23.500", "24.500"),
        ],
    )
    async def test_nothing_else(self, site: Site, file: Path, path: str) -> None:
        (file.parent / "secret.txt").write_text("secret")
        (file.parent.parent / "link").symlink_to(file.parent)
        file.with_name(NAME.replace("23.500", "24.500")).symlink_to(file)
        status, _ = await raw(site, path, "DELETE")
        assert status in (404, 405)
        assert {NAME, "secret.txt"} <= set(os.listdir(file.parent))

    async def test_a_disk_that_refuses(self, site: Site, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(*_: object, **__: object) -> None:
            raise OSError(errno.EROFS, "Read-only file system")

        monkeypatch.setattr(os, "unlink", refuse)
        reply = await site.ask("DELETE", self.PATH)
        assert reply.error == (503, "disk_failed")
        assert "Read-only file system" in reply.json["error"]["message"]

    async def test_without_a_directory(self) -> None:
        async with served() as site:
            assert (await site.ask("DELETE", self.PATH)).error == (404, "unknown_recording")


class TestADiskThatHangs:
    """A seam: what the library is asked for waits."""

    @pytest.fixture
    async def hung(self, site: Site, file: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
        answers = threading.Event()
        monkeypatch.setattr(recording_files, "DISK_TIMEOUT_S", 0.1)
        for name in ("streams", "open", "delete"):
            monkeypatch.setattr(Library, name, self.waiting(answers, getattr(Library, name)))
        yield site
        answers.set()

    def waiting(self, answers: threading.Event, call: Callable[..., T]) -> Callable[..., T]:
        def wait(*arguments: Any) -> T:
            answers.wait(60)
            return call(*arguments)

        return wait

    async def test_a_request_is_refused_and_nothing_else_waits(self, hung: Site) -> None:
        path = f"/recordings/porch/{NAME}"
        for method, target in (("GET", LIST), ("GET", path), ("DELETE", path)):
            reply = await hung.ask(method, target)
            assert reply.error == (503, "disk_failed")
            assert "does not answer" in reply.json["error"]["message"]
        assert (await hung.get("/api/v1/streams")).status == 200
        assert hung.app[ARCHIVE].downloads == 0

    async def test_however_many_ask_they_take_one_thread(self, hung: Site) -> None:
        before = threading.active_count()
        replies = await asyncio.gather(*(hung.get(f"/recordings/porch/{NAME}") for _ in range(40)))
        assert {reply.status for reply in replies} == {503}
        assert threading.active_count() <= before + 1

    async def test_the_end_does_not_wait_for_it(self, hung: Site, caplog: pytest.LogCaptureFixture) -> None:
        await hung.get(LIST)
        async with asyncio.timeout(3):
            await hung.app[ARCHIVE].clean_up(hung.app)
        assert "does not end" in caplog.text


async def raw(site: Site, target: str, method: str = "GET") -> tuple[int, bytes]:
    """As it is: clients tidy up what they are given."""
    host, port = site.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return int(answer.split(b" ", 2)[1]), answer


async def test_what_was_downloaded_while_it_is_written_can_be_played(site: Site, tmp_path: Path) -> None:
    await site.put(RECORDING)
    for _ in range(5):
        await site.film(count=5)
    await site.ask("DELETE", RECORDING)
    [segment] = await listed(site)
    reply: Reply = await site.get(f"/recordings/{segment['path']}")
    (tmp_path / "got.mp4").write_bytes(reply.body)
    with av.open(tmp_path / "got.mp4") as container:
        assert sum(1 for _ in container.decode(video=0)) >= 2


async def test_a_body_that_does_not_come_is_not_waited_for(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "BODY_TIMEOUT_S", 0.1)
    host, port = site.url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"PUT {RECORDING} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n"
    writer.write(head.encode())
    async with timeout(5):
        assert (await reader.readline()).startswith(b"HTTP/1.1 408 ")
    writer.write(b"too late!")  # else aiohttp waits 10 s for it
    await reader.read(1)
    writer.close()
    await writer.wait_closed()
