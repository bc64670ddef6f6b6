"""Live video that is sent to us, and how it is noticed that it ends."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import av
import pytest

from streamd.config.sections import StreamConfig
from streamd.errors import SourceStalled, SourceUnreachable, SourceUnsupported
from streamd.sources import open_source
from tests.support.clips import number_in, write_clip
from tests.support.ports import free_port

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
    with pytest.raises(SourceUnreachable, match="no answer within"):
        next(source.frames())


def test_a_protocol_that_ffmpeg_lacks_is_named() -> None:
    source = open_source(StreamConfig(source="srt://127.0.0.1:9000"), threading.Event())
    with pytest.raises(SourceUnsupported, match="srt:// is missing in PyAV's FFmpeg"):
        next(source.frames())
