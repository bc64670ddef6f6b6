"""Live video that is sent to us, and how it is noticed that it ends."""

from __future__ import annotations

import os
import socket
import threading
import time
from pathlib import Path

import av
import pytest

from streamd.config.sections import StreamConfig
from streamd.errors import SourceError, SourceStalled, SourceUnreachable
from streamd.sources import open_source
from tests.support.clips import number_in, write_clip
from tests.support.ports import free_port
from tests.support.waiting import scaled

pytestmark = pytest.mark.timeout(30)


class Sender:
    """Sends a clip as MPEG-TS by UDP, in real time, again and again."""

    def __init__(self, url: str, clip: Path) -> None:
        self._url, self._clip = url, clip
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._send)

    def __enter__(self) -> Sender:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _send(self) -> None:
        with av.open(str(self._clip)) as clip, av.open(self._url, "w", format="mpegts") as output:
            video = output.add_stream_from_template(clip.streams.video[0])
            packets = [packet for packet in clip.demux(video=0) if packet.size]
            unit = clip.streams.video[0].time_base
            assert unit is not None
            for number in range(10_000):
                packet = packets[number % len(packets)]
                packet.stream = video
                packet.time_base = unit
                packet.pts = packet.dts = round(number / 25 / unit)
                output.mux(packet)
                if self._stop.wait(0.04):
                    return


@pytest.mark.parametrize("group", ["127.0.0.1", "239.255.1.7"])
def test_mpeg_ts_by_udp(tmp_path: Path, group: str) -> None:
    clip = write_clip(tmp_path / "a.ts", 25)
    port = free_port()
    at = "@" if group.startswith("239") else ""
    source = open_source(StreamConfig(source=f"udp://{at}{group}:{port}", read_timeout_s=1), threading.Event())
    seen: list[int] = []
    with Sender(f"udp://{group}:{port}?pkt_size=1316&ttl=0", clip) as sender:
        frames = source.frames()
        while len(seen) < 30:
            seen.append(number_in(next(frames)))
        sender.stop()
        stopped = time.monotonic()
        with pytest.raises(SourceStalled):
            seen.extend(number_in(frame) for frame in frames)
    assert time.monotonic() - stopped < 5
    assert len(set(seen)) == 25


def test_nobody_sends() -> None:
    source = open_source(StreamConfig(source=f"udp://127.0.0.1:{free_port()}", read_timeout_s=0.5), threading.Event())
    with pytest.raises(SourceUnreachable, match=r"nobody has sent anything for 0.5 s"):
        next(source.frames())


def test_a_stop_ends_the_wait_for_a_sender() -> None:
    """FFmpeg would hold the thread for 10 s."""
    stop = threading.Event()
    timer = threading.Timer(0.2, stop.set)
    timer.start()
    started = time.monotonic()
    with pytest.raises(SourceUnreachable):
        next(open_source(StreamConfig(source=f"udp://:{free_port()}"), stop).frames())
    assert time.monotonic() - started < scaled(2)
    timer.join()


def test_a_sender_that_begins_ends_the_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the next try: up to a minute apart."""
    monkeypatch.setattr("streamd.sources.network.PROBE_EVERY_S", 0.2)
    clip, port = write_clip(tmp_path / "a.ts", 25), free_port()
    source = open_source(StreamConfig(source=f"udp://127.0.0.1:{port}"), threading.Event())
    sender = Sender(f"udp://127.0.0.1:{port}?pkt_size=1316", clip)
    timer = threading.Timer(0.5, sender.__enter__)
    timer.start()
    started = time.monotonic()
    source.await_return(60)
    waited_s = time.monotonic() - started
    timer.join()
    assert 0.4 < waited_s < scaled(5)
    started = time.monotonic()
    source.await_return(0.5)
    assert time.monotonic() - started >= 0.5, "one that has been there all the time is not asked sooner"
    sender.stop()


def test_a_sender_that_begins_again(tmp_path: Path) -> None:
    """With other times, after a pause that is no stall."""
    clip, port = write_clip(tmp_path / "a.ts", 25), free_port()
    url = f"udp://127.0.0.1:{port}?pkt_size=1316"
    frames = open_source(StreamConfig(source=f"udp://127.0.0.1:{port}", read_timeout_s=3), threading.Event()).frames()
    for _ in range(2):
        with Sender(url, clip):
            assert len({number_in(next(frames)) for _ in range(30)}) > 20
    frames.close()


@pytest.mark.parametrize("what", [b"", b"\x00\x00\x01\x65" * 300])
def test_rubbish_is_no_video(monkeypatch: pytest.MonkeyPatch, what: bytes) -> None:
    monkeypatch.setattr("streamd.sources.base.OPEN_TIMEOUT_S", 1.0)
    port, over = free_port(), threading.Event()

    def send_rubbish() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            while not over.wait(0.001):
                sender.sendto(what or os.urandom(1316), ("127.0.0.1", port))

    thread = threading.Thread(target=send_rubbish)
    thread.start()
    try:
        started = time.monotonic()
        with pytest.raises(SourceError, match=r"no MPEG-TS with video|no video within|has no video"):
            next(open_source(StreamConfig(source=f"udp://:{port}", read_timeout_s=1), threading.Event()).frames())
    finally:
        over.set()
        thread.join()
    assert time.monotonic() - started < scaled(4)


def test_a_port_that_another_program_has() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        source = open_source(StreamConfig(source=f"udp://127.0.0.1:{taken.getsockname()[1]}"), threading.Event())
        with pytest.raises(SourceUnreachable, match="another program listens to this port"):
            next(source.frames())


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("udp://192.0.2.1:5000", "is not an address of this machine"),
        ("udp://@239.255.1.9:5000?localaddr=192.0.2.1", "name an address of one"),
    ],
)
def test_where_it_cannot_listen(url: str, reason: str) -> None:
    with pytest.raises(SourceUnreachable, match=reason):
        next(open_source(StreamConfig(source=url), threading.Event()).frames())
