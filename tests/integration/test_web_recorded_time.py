"""The line of time, clips, the end of a span, and depth16 over HTTP."""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import av
import pytest

import streamd
from streamd.config.sections import RecordingConfig
from streamd.sinks.recording import clip
from streamd.sinks.recording import segment as segment_module
from streamd.sinks.recording.index import Segment
from streamd.web import clips, timeline
from streamd.web.recorded_span import RecordedSpan
from streamd.web.recording_files import ARCHIVE
from tests.integration.web_site import Site, served
from tests.support.clips import number_in
from tests.support.segments import depths, packets, segment

pytestmark = pytest.mark.timeout(60)

LIST = "/api/v1/recordings"
HOUR = "from=2026-11-25T03:00:00Z&to=2026-11-25T04:00:00Z"


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    root = tmp_path / "recordings"
    for number in range(3):
        segment(root, 2 * number, packets(50, 50 * number))
    segment(root, 60, packets(50, 150))
    segment(root, 0, depths(50), view="depth16")
    segment(root, 86400, packets(50), stream="yard")
    async with served(
        recording=RecordingConfig(directory=root, min_free_gb=0), streams={"porch": {"record": ()}}
    ) as site:
        await site.until(lambda: site.app[ARCHIVE]._index and not site.app[ARCHIVE]._index._next_unread())
        yield site


def folder(site: Site) -> Path:
    assert site.recording.directory is not None
    return site.recording.directory


class TestTimeline:
    async def test_spans_of_streams_and_views(self, site: Site) -> None:
        found = (await site.get(f"{LIST}/timeline?{HOUR}")).json
        spans = {(track["stream"], track["view"]): track["spans"] for track in found["tracks"]}
        assert spans["porch", "depth"] == [
            {"from": "2026-11-25T03:00:00.000Z", "to": "2026-11-25T03:00:05.993Z"},
            {"from": "2026-11-25T03:01:00.000Z", "to": "2026-11-25T03:01:01.993Z"},
        ]
        assert (len(spans["porch", "depth16"]), spans["yard", "depth"]) == (1, [])
        assert (found["before"], found["after"], found["complete"]) == (None, "2026-11-26T03:00:00.000Z", True)

    async def test_of_one_stream_and_view_and_the_last_day(self, site: Site) -> None:
        found = (await site.get(f"{LIST}/timeline?stream=porch&view=depth16&{HOUR}")).json
        assert [track["view"] for track in found["tracks"]] == ["depth16"]
        assert (await site.get(f"{LIST}/timeline")).status == 200

    @pytest.mark.parametrize(
        "query", ["from=x", "to=x", "view=x-ray", "from=2026-11-25T03:00:00Z&to=2026-11-25T02:00:00Z"]
    )
    async def test_what_cannot_be_asked(self, site: Site, query: str) -> None:
        assert (await site.get(f"{LIST}/timeline?{query}")).error == (422, "bad_value")

    @pytest.mark.parametrize(
        "query",
        [
            "from=0001-01-01T00:00:00%2B14:00",
            "to=0001-01-01T00:00:00Z",
            "from=9999-12-31T23:59:59Z",
            "from=9999-12-31T00:00:00Z&to=9999-12-31T23:59:59-14:00",
        ],
    )
    async def test_at_the_ends_of_time(self, site: Site, query: str) -> None:
        reply = await site.get(f"{LIST}/timeline?{query}")
        assert reply.status == 200
        assert [track["spans"] for track in reply.json["tracks"]] == [[], [], []]
        assert (await site.get(f"{LIST}?{query}")).status == 200

    async def test_without_a_directory(self) -> None:
        async with served() as site:
            assert (await site.get(f"{LIST}/timeline?{HOUR}")).json["tracks"] == []
            assert (await site.get(f"{LIST}/clip?stream=porch&{HOUR}")).error == (404, "unknown_recording")
            assert (await site.ask("DELETE", f"{LIST}?stream=porch&{HOUR}")).json == {"deleted": 0, "kept": 0}


class TestList:
    async def test_filters(self, site: Site) -> None:
        async def listed(query: str) -> list[str]:
            return [each["started"][14:19] for each in (await site.get(f"{LIST}?{query}")).json["recordings"]]

        assert await listed("stream=porch&view=depth") == ["01:00", "00:04", "00:02", "00:00"]
        assert await listed("view=depth&from=2026-11-25T03:00:03Z&to=2026-11-25T03:00:30Z") == ["00:04", "00:02"]
        assert await listed("view=depth16") == ["00:00"]
        assert await listed("stream=yard&to=2026-11-25T03:00:30Z") == []

    async def test_how_long_each_is(self, site: Site) -> None:
        [found] = (await site.get(f"{LIST}?stream=yard")).json["recordings"]
        assert found["duration_s"] == pytest.approx(2.0, abs=0.01)


class TestClip:
    CLIP = f"{LIST}/clip?stream=porch&view=depth&from=2026-11-25T03:00:01Z&to=2026-11-25T03:01:01Z"

    async def test_across_files(self, site: Site, tmp_path: Path) -> None:
        reply = await site.get(self.CLIP)
        assert (reply.status, reply.headers["Content-Type"]) == (200, "video/mp4")
        assert reply.headers["Content-Disposition"] == 'attachment; filename="porch-depth-2026-11-25T03-00-01.000Z.mp4"'
        assert reply.headers["X-Clip-From"] == "2026-11-25T03:00:01.000Z"
        assert reply.headers["X-Clip-To"].startswith("2026-11-25T03:01:01.0")
        assert reply.headers["X-Clip-Keyframe"] == "2026-11-25T03:00:00.000Z"
        assert float(reply.headers["X-Clip-Left-Out-Seconds"]) == pytest.approx(54, abs=0.1)
        (tmp_path / "clip.mp4").write_bytes(reply.body)
        with av.open(tmp_path / "clip.mp4") as container:
            assert [number_in(frame) for frame in container.decode(video=0)] == list(range(25, 175))
        await site.until(lambda: site.app[ARCHIVE].downloads == 0)
        assert {path.name for path in folder(site).iterdir()} == {".index.sqlite", "porch", "yard"}

    async def test_eight_at_once(self, site: Site) -> None:
        replies = await asyncio.gather(*(site.get(self.CLIP) for _ in range(8)))
        assert {reply.status for reply in replies} == {200}
        assert len({reply.body for reply in replies}) == 1

    @pytest.mark.parametrize(
        ("query", "error"),
        [
            (f"stream=porch&view=depth16&{HOUR}", (422, "bad_value")),
            (f"stream=porch&view=x&{HOUR}", (422, "bad_value")),
            (f"view=depth&{HOUR}", (422, "bad_value")),
            ("stream=porch&from=2026-11-25T03:00:00Z", (422, "bad_value")),
            ("stream=porch&from=2026-11-25T03:00:00Z&to=2026-11-25T23:00:00Z", (422, "bad_value")),
            (f"stream=porch&view=source&{HOUR}", (404, "unknown_recording")),
            (f"stream=..%2fporch&{HOUR}", (404, "unknown_recording")),
        ],
    )
    async def test_what_cannot_be_had(self, site: Site, query: str, error: tuple[int, str]) -> None:
        assert (await site.get(f"{LIST}/clip?{query}")).error == error

    async def test_bounds(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(clip, "MAX_CLIP_BYTES", 100)
        assert (await site.get(self.CLIP)).error == (413, "too_large")
        monkeypatch.undo()
        monkeypatch.setattr(clip, "free_bytes", lambda folder: -1)
        assert (await site.get(self.CLIP)).error == (503, "disk_full")

    async def test_of_a_file_that_has_no_picture_yet(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
        path = folder(site) / "yard" / "2026-11-26T05-00-00.000Z-depth.mp4"
        monkeypatch.setattr(segment_module, "_open", {path})
        path.write_bytes(b"")
        query = "stream=yard&from=2026-11-26T05:00:00Z&to=2026-11-26T06:00:00Z"
        assert (await site.get(f"{LIST}/clip?{query}")).error == (404, "unknown_recording")

    async def test_one_that_nobody_waits_for_ends(
        self, site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        ended: list[bool] = []

        def slow(*_: object, stop: object, **__: object) -> None:
            ended.append(stop.wait(10))  # type: ignore[attr-defined]
            raise clip.ClipStopped("stopped")

        monkeypatch.setattr(clips, "cut", slow)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await site.get(self.CLIP)
        await site.until(lambda: ended == [True])
        await site.until(lambda: site.app[ARCHIVE].downloads == 0)
        gc.collect()
        assert "never retrieved" not in caplog.text


class TestDeleteSpan:
    async def test_what_lies_in_it_and_nothing_else(self, site: Site) -> None:
        span = "from=2026-11-25T03:00:02Z&to=2026-11-25T03:01:01Z"
        assert (await site.ask("DELETE", f"{LIST}?stream=porch&view=depth&{span}")).json == {"deleted": 2, "kept": 1}
        left = sorted(os.listdir(folder(site) / "porch"))
        assert [name[17:19] for name in left] == ["00", "00", "00"]
        assert len(os.listdir(folder(site) / "yard")) == 1
        found = (await site.get(f"{LIST}/timeline?stream=porch&view=depth&{HOUR}")).json
        assert [each["from"][14:19] for each in found["tracks"][0]["spans"]] == ["00:00", "01:00"]

    async def test_by_the_times_of_the_line(self, site: Site) -> None:
        [track] = (await site.get(f"{LIST}/timeline?stream=porch&view=depth&{HOUR}")).json["tracks"]
        span = track["spans"][0]
        reply = await site.ask("DELETE", f"{LIST}?stream=porch&view=depth&from={span['from']}&to={span['to']}")
        assert reply.json == {"deleted": 3, "kept": 0}

    async def test_a_hundred_thousand_are_not_looked_through_on_the_loop(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        threads: list[str] = []

        def complete(span: RecordedSpan, found: list[Segment]) -> tuple[int, list[Segment]]:
            threads.append(threading.current_thread().name)
            return len(found), []

        monkeypatch.setattr(timeline, "_complete", complete)
        assert (await site.ask("DELETE", f"{LIST}?stream=porch&{HOUR}")).json == {"deleted": 0, "kept": 5}
        assert threads == ["recordings"]

    async def test_never_what_is_being_recorded(self, site: Site) -> None:
        await site.put("/api/v1/streams/porch/recording", views=["depth", "depth16"])
        await site.film(count=3)
        await site.until(lambda: len(os.listdir(folder(site) / "porch")) == 7)
        span = "from=2026-01-01T00:00:00Z&to=2126-01-01T00:00:00Z"
        assert (await site.ask("DELETE", f"{LIST}?stream=porch&{span}")).json == {"deleted": 5, "kept": 2}
        assert len(os.listdir(folder(site) / "porch")) == 2

    async def test_it_has_to_be_named(self, site: Site) -> None:
        for query in ("", HOUR, "stream=porch"):
            assert (await site.ask("DELETE", f"{LIST}?{query}")).error == (422, "bad_value")


async def test_depth16_is_recorded_and_not_shown(site: Site) -> None:
    path = "/api/v1/streams/porch"
    started = await site.put(f"{path}/recording", views=["depth16"])
    assert started.json["recording_views"] == ["depth16"]
    for _ in range(5):
        await site.film(count=3)
    await site.ask("DELETE", f"{path}/recording")
    newest = (await site.get(f"{LIST}?stream=porch&view=depth16")).json["recordings"][0]
    assert (newest["complete"], newest["cut_short"], newest["path"][-4:]) == (True, False, ".mkv")
    reply = await site.get(f"/recordings/{newest['path']}")
    assert reply.headers["Content-Type"] == "video/x-matroska"
    frames = list(streamd.read_depth(folder(site) / newest["path"]))
    assert len(frames) >= 10
    assert frames[0][0] == 0.0
    for what in ("snapshot", "mjpeg"):
        refused = await site.get(f"{path}/{what}?view=depth16")
        assert refused.error == (422, "bad_value")
        assert "recorded or converted, not shown" in refused.json["error"]["message"]
