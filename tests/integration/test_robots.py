"""What robots get of a stream: a DDS reader of another process, a client of Foxglove, an MCAP file read back."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
from mcap.reader import make_reader
from mcap_protobuf.decoder import DecoderFactory

from streamd.concurrency import threads
from streamd.config.robots import FoxgloveConfig, Ros2Config
from streamd.depth.calibration import Reading, calibrate
from streamd.media.frames import FloatImage
from streamd.robots import topics
from streamd.robots.feed import RobotFeed
from streamd.robots.foxglove import Foxglove
from streamd.robots.ros2 import Ros2
from streamd.streams.calibrated import Calibrated
from tests.integration.web_site import Site, served
from tests.support.ports import free_ports

pytestmark = pytest.mark.timeout(60)

LOOPBACK = """<CycloneDDS><Domain><General><Interfaces><NetworkInterface name="lo"/></Interfaces>
<AllowMulticast>false</AllowMulticast></General><Discovery><ParticipantIndex>auto</ParticipantIndex>
<Peers><Peer address="127.0.0.1"/></Peers></Discovery></Domain></CycloneDDS>"""
BY_METRES = calibrate([Reading(0.1, 0.5, 2.0, 0.6), Reading(0.9, 0.5, 5.0, 0.2)], 1.0)


@pytest.fixture(scope="module", autouse=True)
def runtime() -> None:
    """foxglove-sdk keeps what its own threads wait with for as long as the process lives."""
    import foxglove

    foxglove.start_server(port=0).stop()


@pytest.fixture
def domain(monkeypatch: pytest.MonkeyPatch) -> int:
    """One that nobody else is in: of this machine alone, by ports that belong to this process."""
    monkeypatch.setenv("CYCLONEDDS_URI", LOOPBACK)
    return 1 + os.getpid() % 200


@pytest.fixture
def reader(domain: int) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "tests.support.ros2_reader", str(domain), "porch"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "listening\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def give_metres(site: Site) -> None:
    """As points of known distance would."""
    stream = site.stream()
    newest = stream.newest
    assert newest is not None
    height, width = newest.frame.inverse_depth.shape
    provenance = newest.frame.provenance
    stream.calibrate(
        Calibrated(BY_METRES, provenance.model, provenance.sha256, 256, (width, height), "rtsp://h/live", time.time())
    )


def floats(message: dict[str, Any]) -> FloatImage:
    data = base64.b64decode(message["data"])
    return np.frombuffer(data, "<f4").reshape(message["height"], message["width"])


async def test_a_dds_reader_gets_what_value_says(domain: int, reader: subprocess.Popen[str]) -> None:
    async with served() as site:
        feed = RobotFeed("ros2", site.fleet, Ros2(Ros2Config(enabled=True, domain=domain)), 1000.0)
        await site.film()
        give_metres(site)
        feed.start()
        try:
            assert reader.stdout is not None
            first = asyncio.ensure_future(threads.call("reader", reader.stdout.readline))
            before_ns = time.time_ns()
            while not first.done():  # until it has found us
                await site.film()
                await asyncio.sleep(0.05)
            await site.film()
            newest = site.stream().newest
            assert newest is not None
            got = json.loads(await first)
            while not np.array_equal(floats(got[topics.INVERSE_DEPTH]), newest.frame.inverse_depth):
                got = json.loads(await threads.call("reader", reader.stdout.readline))
            inverse, metres = floats(got[topics.INVERSE_DEPTH]), floats(got[topics.DEPTH])
            height, width = inverse.shape
            for row, column in ((0, width - 1), (height // 2, width // 3), (height - 1, width - 9)):
                x, y = (column + 0.5) / width, (row + 0.5) / height
                value = (await site.get(f"/api/v1/streams/porch/value?x={x}&y={y}")).json
                assert inverse[row, column] == pytest.approx(value["inverse_depth"], rel=1e-3, abs=1e-3)
                if value["metres"] is None:  # too far away to say
                    assert np.isnan(metres[row, column])
                else:
                    assert metres[row, column] == pytest.approx(value["metres"], rel=1e-3)
        finally:
            await feed.close()
    assert {message["stamp_ns"] for message in got.values()} == {got[topics.DEPTH]["stamp_ns"]}
    assert before_ns - 5e9 < got[topics.DEPTH]["stamp_ns"] < time.time_ns()
    assert {message["frame_id"] for message in got.values()} == {"porch_optical_frame"}
    assert got[topics.COLOUR]["encoding"] == "rgb8"
    assert got[topics.COLOUR]["step"] == 3 * width
    assert len(base64.b64decode(got[topics.COLOUR]["data"])) == 3 * width * height
    camera = got[topics.CAMERA]
    assert (camera["width"], camera["height"]) == (width, height)
    assert camera["k"][2] == pytest.approx((width - 1) / 2)
    points = np.frombuffer(base64.b64decode(got[topics.POINTS]["data"]), "<f4").reshape(-1, 4)
    np.testing.assert_allclose(points[:, 2], metres[np.isfinite(metres)], rtol=1e-6)


async def test_nothing_is_written_that_nobody_reads(domain: int, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    monkeypatch.setattr(Ros2, "_image", lambda self, header, encoding, pixels: written.append(encoding))
    async with served() as site:
        feed = RobotFeed("ros2", site.fleet, Ros2(Ros2Config(enabled=True, domain=domain)), 1000.0)
        feed.start()
        await site.film(count=3)
        await feed.close()
    assert written == []


async def test_nothing_is_made_that_nobody_looks_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cloud takes longer than all else."""
    made: list[str] = []
    monkeypatch.setattr("streamd.robots.foxglove._image", lambda stamp, frame, encoding, pixels: made.append(encoding))
    async with served() as site:
        foxglove = Foxglove(FoxgloveConfig(listen="127.0.0.1:0"))
        feed = RobotFeed("foxglove", site.fleet, foxglove, 1000.0)
        feed.start()
        await site.film(count=3)
        await site.until(lambda: foxglove._channels)
        await feed.close()
    assert made == []


async def test_foxglove_and_its_file_hold_the_same(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    config = FoxgloveConfig(listen=f"127.0.0.1:{port}", mcap=tmp_path)
    shown: list[FloatImage] = []
    async with served() as site:
        foxglove = Foxglove(config)
        feed = RobotFeed("foxglove", site.fleet, foxglove, 1000.0)
        await site.film()
        give_metres(site)
        feed.start()
        try:
            # A client that subscribes in the moment that a channel is made is told that it does not exist.
            await site.until(lambda: foxglove._channels)
            async with site.http.ws_connect(f"ws://127.0.0.1:{port}", protocols=["foxglove.sdk.v1"]) as client:
                await subscribe(client)
                for _ in range(3):
                    await site.film()
                    newest = site.stream().newest
                    assert newest is not None
                    shown.append(newest.frame.inverse_depth)
                    await receive(client, newest.frame.inverse_depth.astype("<f4").tobytes())
        finally:
            await feed.close()
    read = messages_of(tmp_path)
    assert set(read) == {
        f"/porch/{topic}" for topic in (topics.INVERSE_DEPTH, topics.DEPTH, topics.COLOUR, topics.CAMERA, topics.POINTS)
    }
    for image, metres, depth in zip(
        read["/porch/inverse_depth/image_raw"][-3:], read["/porch/depth/image_raw"][-3:], shown, strict=True
    ):
        assert image.data == depth.astype("<f4").tobytes(), "exactly"
        assert image.encoding == "32FC1"
        want = BY_METRES.metres(depth)
        got = np.frombuffer(metres.data, "<f4").reshape(depth.shape)
        np.testing.assert_allclose(got[np.isfinite(got)], want[np.isfinite(got)], rtol=1e-6)


def messages_of(folder: Path) -> dict[str, list[Any]]:
    """Those of the one file there, which is whole; by topic."""
    (file,) = folder.glob("streamd-*.mcap")
    read: dict[str, list[Any]] = {}
    with file.open("rb") as opened:
        reader = make_reader(opened, decoder_factories=[DecoderFactory()])
        assert reader.get_summary() is not None
        for _, channel, _, message in reader.iter_decoded_messages():
            read.setdefault(channel.topic, []).append(message)
    return read


async def subscribe(client: aiohttp.ClientWebSocketResponse) -> None:
    """To inverse depth."""
    while True:
        told = await client.receive_json(timeout=5)
        for channel in told.get("channels", ()):
            if channel["topic"] == "/porch/inverse_depth/image_raw":
                wanted = [{"id": 7, "channelId": channel["id"]}]
                await client.send_json({"op": "subscribe", "subscriptions": wanted})
                return


async def receive(client: aiohttp.ClientWebSocketResponse, pixels: bytes) -> None:
    """A picture of exactly these."""
    while True:
        message = await client.receive(timeout=5)
        if message.type is aiohttp.WSMsgType.BINARY and message.data[0] == 1:  # message data
            assert int.from_bytes(message.data[1:5], "little") == 7
            if pixels in message.data:
                return


async def test_files_turn_over_and_make_room(tmp_path: Path) -> None:
    config = FoxgloveConfig(mcap=tmp_path, mcap_minutes=0.1, mcap_max_gb=1e-9)
    foxglove = Foxglove(config)
    async with served() as site:
        feed = RobotFeed("foxglove", site.fleet, foxglove, 1000.0)
        feed.start()
        await site.film(count=2)
        foxglove._written_since -= 60
        await site.film(count=2)
        await site.until(lambda: len(list(tmp_path.iterdir())) == 1)
        await feed.close()
    assert messages_of(tmp_path)
