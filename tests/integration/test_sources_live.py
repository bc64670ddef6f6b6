"""What live sources make of packets that are damaged, late, of another size or without sensible times.

A clip stands for the camera; each test changes its packets on the way to the decoder. What FFmpeg flags of
damage, and what it does not, is described in streamd/sources/corruption.py; these tests hold it to that.
"""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import av
import pytest
from av.packet import Packet

from streamd.config.sections import StreamConfig
from streamd.errors import SourceEnded, SourceStalled
from streamd.sources import hardware, open_source
from streamd.sources.base import Source
from tests.support.clips import number_in, picture_of, write_clip
from tests.support.waiting import scaled
from tests.unit.sources.peers import Film, Line, peer, rtsp, sends

pytestmark = pytest.mark.timeout(30)

Change = Callable[[int, Any], Any]


class Camera(Source):
    """A clip, live. ``change`` gives what becomes of each packet."""

    def __init__(self, clip: Path, change: Change = lambda number, packet: packet, **config: Any) -> None:
        super().__init__(StreamConfig(source=str(clip), **config), threading.Event())
        self.change = change
        self.skipped: Counter[str] = Counter()
        self.on_skip = lambda reason: self.skipped.update([reason])

    def frames(self) -> Generator[av.VideoFrame]:
        with self.opened(self.config.source) as container:
            yield from self.decoded(container)

    def packets(self, container: Any, stream: Any) -> Iterator[Any]:
        for number, packet in enumerate(container.demux(stream)):
            made = self.change(number, packet) if packet.size else packet
            if isinstance(made, bytes):
                data, made = made, Packet(made)
                made.stream, made.pts, made.dts, made.time_base = stream, packet.pts, packet.dts, packet.time_base
                assert bytes(made) == data
            if made is not None:
                yield made

    def numbers(self) -> list[int]:
        return [number_in(frame) for frame in self.frames()]


def source_of(url: str, stop: threading.Event | None = None, **config: Any) -> Source:
    return open_source(StreamConfig(source=url, **config), stop or threading.Event())


def cut(at: int) -> Change:
    return lambda number, packet: bytes(packet)[: packet.size // 2] if number == at else packet


def flipped(at: int) -> Change:
    def change(number: int, packet: Any) -> Any:
        if number != at:
            return packet
        data = bytearray(bytes(packet))
        data[len(data) // 2] ^= 0xFF
        data[len(data) // 2 + 1] ^= 0x55
        return bytes(data)

    return change


def lost(at: int) -> Change:
    return lambda number, packet: None if number == at else packet


def all_but(*gone: range) -> list[int]:
    return [number for number in range(36) if not any(number in each for each in gone)]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A keyframe every 12 pictures."""
    return write_clip(tmp_path / "a.mkv", 36)


class TestDamage:
    @pytest.mark.parametrize("change", [cut(15), flipped(15)], ids=["cut", "flipped"])
    def test_costs_all_up_to_the_next_keyframe(self, clip: Path, change: Change) -> None:
        camera = Camera(clip, change)
        assert camera.numbers() == all_but(range(15, 24))
        assert camera.skipped == {"corrupt": 9}

    def test_of_a_keyframe_costs_those_after_it(self, clip: Path) -> None:
        camera = Camera(clip, cut(12))
        assert camera.numbers() == all_but(range(12, 24))

    def test_a_picture_that_is_lost_as_a_whole_is_not_seen_by_ffmpeg(self, clip: Path) -> None:
        camera = Camera(clip, lost(15))
        assert camera.numbers() == all_but(range(15, 16))
        assert camera.skipped == {}, "if this fails FFmpeg has learnt it: change corruption.py"

    @pytest.mark.parametrize("change", [cut(15), lost(15)], ids=["cut", "lost"])
    def test_h265_waits_for_the_keyframe_by_itself(self, tmp_path: Path, change: Change) -> None:
        options = {"x265-params": "log-level=none:bframes=0:keyint=12:min-keyint=12:scenecut=0"}
        path = tmp_path / "a.mkv"
        with av.open(str(path), "w") as container:
            video = container.add_stream("libx265", rate=25, options=options)
            video.width, video.height, video.pix_fmt = 192, 112, "yuv420p"
            for number in range(36):
                container.mux(video.encode(picture_of(number)))
            container.mux(video.encode(None))
        assert Camera(path, change).numbers() == all_but(range(15, 24))

    def test_motion_jpeg_goes_on_with_the_next_picture(self, tmp_path: Path) -> None:
        broken: Change = lambda number, packet: b"\xff\xd8nonsense" if number == 15 else packet  # noqa: E731
        camera = Camera(write_clip(tmp_path / "a.avi", 36, codec="mjpeg"), broken)
        assert camera.numbers() == all_but(range(15, 16))
        assert camera.skipped == {"corrupt": 1}

    def test_a_gap_that_the_transport_has_counted(self, tmp_path: Path) -> None:
        """MPEG-TS flags the packet."""
        path = write_clip(tmp_path / "a.ts", 36, size=(640, 480))
        data = path.read_bytes()
        at = len(data) // 188 // 2
        path.write_bytes(data[: at * 188] + data[(at + 1) * 188 :])
        camera = Camera(path)
        found = camera.numbers()
        assert camera.skipped["corrupt"] >= 1
        gone = sorted(set(range(36)) - set(found))
        assert gone == list(range(gone[0], gone[-1] + 1))
        assert (gone[-1] + 1) % 12 == 0, "up to a keyframe"

    @pytest.mark.parametrize("transport", ["tcp", "udp"])
    def test_rtp_packets_that_get_lost(self, tmp_path: Path, transport: str) -> None:
        film = Film(write_clip(tmp_path / "a.mp4", 36, size=(640, 480)))

        def play(line: Line, stop: threading.Event) -> None:
            for number in range(10_000):
                packets = film.rtp(number)
                for packet in packets[:1] + packets[2:] if number == 15 else packets:
                    line.send(packet)
                if stop.wait(0.01):
                    return

        skipped: list[str] = []
        with peer(rtsp(play)) as address:
            source = source_of(f"rtsp://{address}/", transport=transport)
            source.on_skip = skipped.append
            with contextlib.closing(source.frames()) as frames:
                found = [number_in(frame) for frame in islice(frames, 30)]
        assert found == [*all_but(range(15, 24)), 0, 1, 2]
        assert set(skipped) == {"corrupt"}

    def test_a_camera_without_keyframes_comes_back(self, tmp_path: Path) -> None:
        camera = Camera(write_clip(tmp_path / "a.mkv", 90, gop=1000), read_timeout_s=0.6)

        def slowly(number: int, packet: Any) -> Any:
            if number >= 15:
                camera.stop.wait(0.01)
            return cut(15)(number, packet)

        camera.change = slowly
        found = camera.numbers()
        assert found[:15] == list(range(15))
        assert found[-1] == 89
        assert 5 < camera.skipped["corrupt"] < 60

    def test_files_show_what_is_left(self, clip: Path) -> None:
        class File(Camera):
            live = False

        camera = File(clip, flipped(15))
        assert len(camera.numbers()) == 36
        assert camera.skipped == {}


@pytest.mark.parametrize(
    ("skip", "shown"), [("NONKEY", [0, 12, 24]), ("NONREF", None)], ids=["keyframes only", "references only"]
)
def test_what_is_left_out_when_decoding_is_too_slow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, skip: str, shown: list[int] | None
) -> None:
    class Slow:
        def choose(self, *_: object, **__: object) -> str:
            return skip

    clip = write_clip(tmp_path / "a.mkv", 36, b_frames=2)
    whole = Camera(clip).numbers()
    monkeypatch.setattr("streamd.sources.decoder.FrameSkipper", Slow)
    camera = Camera(clip)
    found = camera.numbers()
    assert whole == list(range(36))
    assert found == sorted(found)
    assert shown in (None, found)
    assert 3 <= len(found) <= 28
    assert camera.skipped["late"] == pytest.approx(36 - len(found), abs=2), "but for those that reordering holds back"
    assert camera.skipped["corrupt"] == 0


TIMES: dict[str, Callable[[int, int], int | None]] = {
    "jump ahead": lambda number, time: time + (10**9 if number > 15 else 0),
    "jump back": lambda number, time: time - (10**9 if number > 15 else 0),
    "missing": lambda number, time: None,
    "missing now and then": lambda number, time: None if number % 3 else time,
    "all the same": lambda number, time: 7,
    "backwards": lambda number, time: 10**6 - time,
    "wrap": lambda number, time: (time + 2**33 - 500) % 2**33,
    "noise": lambda number, time: random.Random(number).randrange(-(2**40), 2**40),
}


@pytest.mark.parametrize("b_frames", [0, 2])
@pytest.mark.parametrize("times", TIMES)
def test_times_that_make_no_sense_do_no_harm(tmp_path: Path, times: str, b_frames: int) -> None:
    """We have a clock of our own."""

    def change(number: int, packet: Any) -> Any:
        packet.pts = TIMES[times](number, packet.pts or 0)
        packet.dts = TIMES[times](number, packet.dts or 0)
        return packet

    camera = Camera(write_clip(tmp_path / "a.mkv", 36, b_frames=b_frames), change)
    assert camera.numbers() == list(range(36))
    assert camera.skipped == {}


@pytest.mark.parametrize("step", [0, -3600, 90_000 * 5, -90_000 * 5])
def test_rtp_times_that_make_no_sense_do_no_harm(tmp_path: Path, step: int) -> None:
    film = Film(write_clip(tmp_path / "a.mp4", 36))

    def play(line: Line, stop: threading.Event) -> None:
        for number in range(36):
            for packet in film.rtp(number, time=number * 3600 if number < 10 else 36_000 + step * (number - 9)):
                line.send(packet)
            if stop.wait(0.005):
                return

    found: list[int] = []
    with peer(rtsp(play)) as address, pytest.raises(SourceEnded):
        found.extend(number_in(frame) for frame in source_of(f"rtsp://{address}/").frames())
    assert found == list(range(36)) if step else set(found) <= set(range(36))


def live(data: bytes) -> Iterator[tuple[int, tuple[int, int]]]:
    """Number and size of each picture of a stream without end over HTTP."""
    with peer(sends(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + data)) as address:
        source = source_of(f"http://{address}/live.ts")
        try:
            for frame in source.frames():
                yield number_in(frame), (frame.width, frame.height)
        except SourceEnded:
            return


@pytest.mark.parametrize(
    "form", [{}, {"b_frames": 3}, {"codec": "libx265"}, {"codec": "mpeg4"}], ids=["h264", "b-frames", "h265", "mpeg4"]
)
def test_codecs(tmp_path: Path, form: dict[str, Any]) -> None:
    data = write_clip(tmp_path / "a.ts", 30, **form).read_bytes()
    numbers = [number for number, _ in live(data)]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) >= 28, "a broken connection leaves what waits for reordering"


def test_a_new_size_in_mid_stream(tmp_path: Path) -> None:
    """A camera that was told another resolution, or turned."""
    sizes = [(192, 112), (320, 240), (160, 288)]
    parts = [write_clip(tmp_path / f"{w}.ts", 24, size=(w, h)).read_bytes() for w, h in sizes]
    seen = list(live(b"".join(parts)))
    assert list(dict.fromkeys(size for _, size in seen)) == sizes
    # FFmpeg throws away what it still holds back for reordering.
    assert min(Counter(size for _, size in seen).values()) >= 22


def test_a_new_size_in_mid_stream_over_rtsp(tmp_path: Path) -> None:
    films = [Film(write_clip(tmp_path / f"{w}.mp4", 24, size=(w, h))) for w, h in [(192, 112), (320, 240)]]
    films[1]._sequence = 1000

    def play(line: Line, stop: threading.Event) -> None:
        for turn, film in enumerate(films):
            for number in range(24):
                for packet in film.rtp(number, time=(number + 24 * turn) * 3600):
                    line.send(packet)
                if stop.wait(0.005):
                    return

    sizes: list[tuple[int, int]] = []
    with peer(rtsp(play)) as address, pytest.raises(SourceEnded):
        sizes.extend((frame.width, frame.height) for frame in source_of(f"rtsp://{address}/").frames())
    assert Counter(sizes) == {(192, 112): 24, (320, 240): 24}


@pytest.mark.parametrize("kind", ["cuda", "qsv", "drm", "amf"])
def test_without_the_hardware_it_decodes_in_software_and_logs_it_once(
    clip: Path, kind: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """There is none here; what happens with one is not tested."""
    hardware.log_once.cache_clear()
    camera = Camera(clip, hwaccel=kind)
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert camera.numbers() == list(range(36))
    assert len(caplog.messages) == 1
    assert "in software" in caplog.messages[0]


def test_the_decoder_has_the_threads_of_the_budget(clip: Path) -> None:
    camera = Camera(clip)
    camera.threads = 3
    with camera.opened(str(clip)) as container:
        context = container.streams.video[0].codec_context
        assert (context.thread_count, context.thread_type.name) == (3, "SLICE")


def test_a_camera_of_sound_only_in_mid_stream_is_a_stall(tmp_path: Path) -> None:
    """PyAV's own time limit starts anew with each packet, of sound too."""
    whole = write_clip(tmp_path / "a.ts", 250, audio=True)
    with av.open(str(whole)) as container:
        sound = container.streams.audio[0].index
    assert sound == 1
    data = whole.read_bytes()
    packets = [data[at : at + 188] for at in range(0, len(data), 188)]
    video = (0x100).to_bytes(2, "big")
    head, tail = packets[: len(packets) // 4], packets[len(packets) // 4 :]
    tail = [packet for packet in tail if packet[1] & 0x1F != video[0] or packet[2] != video[1]]

    def script(connection: Any, stop: threading.Event) -> None:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"".join(head))
        for packet in tail * 20:
            connection.sendall(packet)
            if stop.wait(0.005):
                return

    times: list[float] = []
    with peer(script) as address:
        source = source_of(f"http://{address}/live.ts", read_timeout_s=0.7)
        with pytest.raises(SourceStalled, match="went silent"):
            times.extend(time.monotonic() for _ in source.frames())
    assert time.monotonic() - times[-1] < scaled(1.7)
