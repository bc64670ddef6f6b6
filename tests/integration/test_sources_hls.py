"""HLS as servers have it: which quality is played, and what else they put in the way."""

from __future__ import annotations

import gzip
import os
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from streamd.config.sections import StreamConfig
from streamd.errors import SourceEnded, SourceError, SourceStalled, SourceUnreachable, SourceUnsupported
from streamd.sources import open_source
from streamd.sources.base import Source
from tests.support.clips import number_in, write_clip
from tests.support.site import Answer, Site, send, serve
from tests.support.waiting import scaled

pytestmark = pytest.mark.timeout(40)
HEIGHTS = (96, 192, 384)
HEAD = "#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:1\n"
PNG = bytes.fromhex("89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000049454e44ae426082")
JPEG = bytes.fromhex("ffd8ffe000104a46494600010100000100010000ffd9")


@pytest.fixture(scope="module")
def hls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for each height, each with a playlist and three segments of 12 pictures, half a second."""
    folder = tmp_path_factory.mktemp("hls")
    for height in HEIGHTS:
        (folder / f"{height}").mkdir()
        options = {"hls_time": "0.5", "hls_list_size": "0"}
        write_clip(folder / f"{height}" / "list.m3u8", 36, fps=24, size=(2 * height, height), options=options)
    return folder


@contextmanager
def site(folder: Path, extra: Mapping[str, str | bytes | int | Answer], **headers: str) -> Iterator[Site]:
    """Serves what is in ``folder``, and ``extra``: a path's answer, or with which status. Queries are ignored."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        path = request.path.partition("?")[0].strip("/")
        found = extra.get(path)
        if callable(found):
            found(request)
        elif isinstance(found, int):
            send(request, b"", found)
        elif found is not None:
            send(request, found if isinstance(found, bytes) else found.encode(), 200, **headers)
        elif (folder / path).is_file():
            send(request, (folder / path).read_bytes())
        else:
            send(request, b"", 404)

    with serve(answer) as found_site:
        yield found_site


def source_of(url: str, stop: threading.Event | None = None, **settings: Any) -> Source:
    settings = {"read_timeout_s": 2, "realtime": False, **settings}
    return open_source(StreamConfig(source=url, **settings), stop or threading.Event())


def watch(url: str, **settings: Any) -> list[int]:
    return [number_in(frame) for frame in source_of(url, **settings).frames()]


def master(heights: tuple[int, ...] = HEIGHTS) -> str:
    lines = [f"#EXT-X-STREAM-INF:BANDWIDTH={h}00,RESOLUTION={2 * h}x{h}\n{h}/list.m3u8\n" for h in heights]
    return "#EXTM3U\n" + "".join(lines)


def segments(*names: str, end: bool = True) -> str:
    return HEAD + "".join(f"#EXTINF:0.5,\n{name}\n" for name in names) + "#EXT-X-ENDLIST\n" * end


NAMES = [f"list{number}.ts" for number in range(3)]


@pytest.mark.parametrize(("height", "taken"), [(64, 96), (96, 96), (100, 192), (384, 384), (720, 384), (None, 384)])
def test_one_quality_is_fetched(hls: Path, height: int | None, taken: int) -> None:
    """Ticket m3ue/m3u-proxy#64 and the like: all were, and the lowest was shown."""
    with site(hls, {"master.m3u8": master()}) as server:
        frames = list(source_of(f"{server.url}/master.m3u8", height=height).frames())
    assert {frame.height for frame in frames} == {taken}
    assert [number_in(frame) for frame in frames] == list(range(36))
    assert server.asked == ["/master.m3u8", f"/{taken}/list.m3u8", *(f"/{taken}/{name}" for name in NAMES)]


def test_sound_and_subtitles_apart_are_never_asked_for(hls: Path) -> None:
    """Wherever they are."""
    media = (
        '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="a",DEFAULT=YES,URI="sound.m3u8"\n'
        '#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID="s",NAME="s",URI="http://169.254.169.254/"\n'
        '#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=1,RESOLUTION=64x64,URI="frames.m3u8"\n'
        '#EXT-X-SESSION-KEY:METHOD=AES-128,URI="key"\n#EXT-X-CONTENT-STEERING:SERVER-URI="steer"\n'
    )
    text = f'#EXTM3U\n{media}#EXT-X-STREAM-INF:BANDWIDTH=1,AUDIO="a",SUBTITLES="s"\n96/list.m3u8\n'
    inner = (hls / "96" / "list.m3u8").read_text().replace("#EXTINF", media + "#EXTINF", 1)
    with site(hls, {"master.m3u8": text, "96/list.m3u8": inner}) as server:
        assert watch(f"{server.url}/master.m3u8") == list(range(36))
    assert server.asked == ["/master.m3u8", "/96/list.m3u8", *(f"/96/{name}" for name in NAMES)]


def hangs_up(request: BaseHTTPRequestHandler) -> None:
    request.close_connection = True


@pytest.mark.parametrize("failing", [404, 403, 503, "<html>gone</html>", HEAD, "", "#EXTM3U\n", hangs_up])
def test_a_copy_takes_over_from_one_that_fails(hls: Path, failing: Any) -> None:
    same = "#EXT-X-STREAM-INF:BANDWIDTH=1,RESOLUTION=192x96\n"
    text = f"#EXTM3U\n{same}away/list.m3u8\n{same}96/list.m3u8?token=a,b%2F..\n"
    with site(hls, {"master.m3u8": text, "away/list.m3u8": failing}) as server:
        assert watch(f"{server.url}/master.m3u8") == list(range(36))
    assert server.asked[1:3] == ["/away/list.m3u8", "/96/list.m3u8?token=a,b%2F.."]


def test_a_copy_takes_over_from_one_that_is_silent(hls: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamd.sources.base.OPEN_TIMEOUT_S", 1.6)
    over = threading.Event()

    def silent(request: BaseHTTPRequestHandler) -> None:
        over.wait(10)

    text = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=2\naway.m3u8\n#EXT-X-STREAM-INF:BANDWIDTH=1\n96/list.m3u8\n"
    with site(hls, {"master.m3u8": text, "away.m3u8": silent}) as server:
        try:
            assert watch(f"{server.url}/master.m3u8") == list(range(36))
        finally:
            over.set()


def test_none_of_the_qualities_can_be_had(hls: Path) -> None:
    with (
        site(hls, {"master.m3u8": master((1, 2, 3))}) as server,
        pytest.raises(SourceUnreachable, match="the server answers 404"),
    ):
        watch(f"{server.url}/master.m3u8")
    assert server.asked == ["/master.m3u8", "/3/list.m3u8", "/2/list.m3u8", "/1/list.m3u8"]


def test_a_master_of_masters_is_followed(hls: Path) -> None:
    top = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\ndeep/er/../master.m3u8\n"
    inner = master((96,)).replace("96/", "../96/")
    with site(hls, {"top.m3u8": top, "deep/master.m3u8": inner, "deep/er/../master.m3u8": inner}) as server:
        assert watch(f"{server.url}/top.m3u8") == list(range(36))


def test_a_circle_of_masters_ends(hls: Path) -> None:
    with (
        site(hls, {"top.m3u8": "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\ntop.m3u8\n"}) as server,
        pytest.raises(SourceUnsupported, match="without end"),
    ):
        watch(f"{server.url}/top.m3u8")
    assert len(server.asked) == 4


@pytest.mark.parametrize(
    "name",
    ["{}.jpg", "{}.png", "{}.html", "{}.css", "{}", "{}.TS", "{}.aac", "{}.vtt", "{}.ts.txt", "{}.php?x=.ts", "{}?a=b"],
)
def test_segments_may_be_called_anything(hls: Path, name: str) -> None:
    """Ticket jellyfin/jellyfin#17400, xbmc/xbmc#29162."""
    named = [name.format(f"seg{number}") for number in range(3)]
    extra: dict[str, Any] = {"odd.m3u8": segments(*named)}
    extra |= {n.partition("?")[0]: (hls / "96" / own).read_bytes() for n, own in zip(named, NAMES, strict=True)}
    with site(hls, extra) as server:
        assert watch(f"{server.url}/odd.m3u8") == list(range(36))


@pytest.mark.parametrize("picture", [PNG, JPEG, b"GIF89a" + bytes(100), PNG + bytes(70_000)])
def test_segments_behind_a_picture(hls: Path, picture: bytes) -> None:
    extra: dict[str, Any] = {"odd.m3u8": segments("0.png", "1.png", "2.png")}
    extra |= {f"{number}.png": picture + (hls / "96" / name).read_bytes() for number, name in enumerate(NAMES)}
    with site(hls, extra) as server:
        assert watch(f"{server.url}/odd.m3u8") == list(range(36))


def test_segments_that_are_pictures_are_refused(hls: Path) -> None:
    with (
        site(hls, {"odd.m3u8": segments("a.png"), "a.png": PNG + bytes(5000)}) as server,
        pytest.raises(SourceUnsupported, match="names a segment that is a picture"),
    ):
        watch(f"{server.url}/odd.m3u8")


ODD_TEXTS: dict[str, Callable[[str], str | bytes]] = {
    "CRLF": lambda text: text.replace("\n", "\r\n"),
    "old Mac": lambda text: text.replace("\n", "\r"),
    "BOM": lambda text: "\ufeff" + text,
    "blank lines": lambda text: "\n\n" + text.replace("\n", "\n\n"),
    "spaces": lambda text: text.replace("\n", "  \n"),
    "IPTV": lambda text: text.replace("#EXTM3U", '#EXTM3U url-tvg="x"'),
    "Latin-1": lambda text: text.replace("#EXTINF:", "#é\n#EXTINF:").encode("latin-1"),
    "low latency": lambda text: text.replace(
        "#EXTINF", '#EXT-X-PART:DURATION=0.25,URI="part.mp4"\n#EXT-X-PRELOAD-HINT:TYPE=PART,URI="part2.mp4"\n#EXTINF'
    ),
    "discontinuity": lambda text: text.replace("#EXTINF", "#EXT-X-DISCONTINUITY\n#EXTINF"),
    "variables": lambda text: text.replace(
        "#EXTM3U", '#EXTM3U\n#EXT-X-DEFINE:NAME="a-1",VALUE="li"\n#EXT-X-DEFINE:QUERYPARAM="b"'
    ).replace("\nlist", "\n{$a-1}{$b}"),
}


@pytest.mark.parametrize("what", ODD_TEXTS)
def test_odd_playlists(hls: Path, what: str) -> None:
    text = ODD_TEXTS[what]((hls / "96" / "list.m3u8").read_text())
    with site(hls, {"96/odd.m3u8": text}) as server:
        assert watch(f"{server.url}/96/odd.m3u8?b=st") == list(range(36))
    assert server.asked == ["/96/odd.m3u8?b=st", *(f"/96/{name}" for name in NAMES)]


def test_variables_of_the_master(hls: Path) -> None:
    top = '#EXTM3U\n#EXT-X-DEFINE:NAME="who",VALUE="96"\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{$who}/inner.m3u8\n'
    inner = (hls / "96" / "list.m3u8").read_text().replace("#EXTM3U", '#EXTM3U\n#EXT-X-DEFINE:IMPORT="who"')
    inner = inner.replace("\nlist", "\n../{$who}/list")
    with site(hls, {"top.m3u8": top, "96/inner.m3u8": inner}) as server:
        assert watch(f"{server.url}/top.m3u8") == list(range(36))


@pytest.mark.parametrize("types", ["text/plain", "application/vnd.apple.mpegurl", "application/octet-stream"])
def test_a_playlist_is_known_by_its_content(hls: Path, types: str) -> None:
    text = (hls / "96" / "list.m3u8").read_text()
    with site(hls, {"96/live": text}, Content_Type=types) as server:
        assert watch(f"{server.url}/96/live") == list(range(36))


def test_what_is_packed_is_unpacked(hls: Path) -> None:
    packed = {
        f"96/{name}": gzip.compress((hls / "96" / name).read_bytes()) for name in ("list.m3u8", NAMES[0], NAMES[2])
    }
    with site(hls, packed, Content_Encoding="gzip") as server:
        assert watch(f"{server.url}/96/list.m3u8") == list(range(36))


@pytest.mark.parametrize("packed", [b"not packed", gzip.compress(b"#EXTM3U\n" + bytes(80 << 20))])
def test_what_is_packed_badly_is_refused(hls: Path, packed: bytes) -> None:
    with site(hls, {"a": packed}, Content_Encoding="gzip") as server, pytest.raises(SourceError):
        watch(f"{server.url}/a")


def fragmented(folder: Path, *, single: bool) -> None:
    """The 96 lines as fMP4, with the init segment in a file of its own or at the beginning of the only one."""
    options = {"hls_time": "0.5", "hls_list_size": "0", "hls_segment_type": "fmp4"}
    options |= {"hls_flags": "single_file"} if single else {}
    write_clip(folder / "list.m3u8", 36, fps=24, options=options)


@pytest.mark.parametrize("knows_ranges", [True, False])
@pytest.mark.parametrize("single", [True, False])
def test_fragments_and_byte_ranges(tmp_path: Path, single: bool, knows_ranges: bool) -> None:
    fragmented(tmp_path, single=single)

    def answer(request: BaseHTTPRequestHandler) -> None:
        body = (tmp_path / request.path.strip("/")).read_bytes()
        part = re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range", ""))
        if part and knows_ranges:
            first, last = int(part[1]), int(part[2] or len(body) - 1)
            send(request, body[first : last + 1], 206, Content_Range=f"bytes {first}-{last}/{len(body)}")
        else:
            send(request, body)

    with serve(answer) as server:
        assert watch(f"{server.url}/list.m3u8") == list(range(36))


KEY = '#EXT-X-KEY:METHOD=AES-128,URI="key",IV=0x{iv}\n'
FOREIGN = '#EXT-X-KEY:METHOD=SAMPLE-AES,URI="skd://x",KEYFORMAT="com.apple.streamingkeydelivery"\n'


@pytest.mark.parametrize(
    "key", [FOREIGN, FOREIGN.replace("SAMPLE-AES", "AES-128"), '#EXT-X-KEY:METHOD=SAMPLE-AES,URI="key"\n']
)
def test_what_needs_a_licence_is_refused(hls: Path, key: str) -> None:
    text = (hls / "96" / "list.m3u8").read_text().replace("#EXTINF", key + "#EXTINF", 1)
    with (
        site(hls, {"96/list.m3u8": text}) as server,
        pytest.raises(SourceUnsupported, match=r"is encrypted with (SAMPLE-AES|a licence)"),
    ):
        watch(f"{server.url}/96/list.m3u8")
    assert server.asked == ["/96/list.m3u8"]


def test_a_plain_key_beside_one_with_a_licence(hls: Path) -> None:
    iv, key = os.urandom(16), os.urandom(16)
    extra: dict[str, Any] = {"96/key": key}
    for name in NAMES:
        command = ["openssl", "enc", "-aes-128-cbc", "-K", key.hex(), "-iv", iv.hex()]
        extra[f"96/{name}"] = subprocess.run(
            command, input=(hls / "96" / name).read_bytes(), capture_output=True, check=True
        ).stdout
    text = (hls / "96" / "list.m3u8").read_text()
    extra["96/list.m3u8"] = text.replace("#EXTINF", KEY.format(iv=iv.hex()) + FOREIGN + "#EXTINF", 1)
    with site(hls, extra) as server:
        assert watch(f"{server.url}/96/list.m3u8") == list(range(36))


def test_a_playlist_without_segments_is_empty(hls: Path) -> None:
    with site(hls, {"a.m3u8": HEAD}) as server, pytest.raises(SourceUnreachable, match="has an empty playlist"):
        watch(f"{server.url}/a.m3u8")


@pytest.mark.parametrize("lines", ["#EXTINF:-1 tvg-id=1,One\nhttp://127.0.0.1:9/one\n", "http://127.0.0.1:9/one\n"])
def test_a_list_of_channels_is_none_of_segments(hls: Path, lines: str) -> None:
    with (
        site(hls, {"a.m3u": "#EXTM3U\n" + lines}) as server,
        pytest.raises(SourceUnsupported, match="list of channels"),
    ):
        watch(f"{server.url}/a.m3u")
    assert server.asked == ["/a.m3u"]


def test_segments_that_cannot_be_had_are_the_reason(hls: Path) -> None:
    with (
        site(hls, {"a.m3u8": segments("none.ts", "gone.ts")}) as server,
        pytest.raises(SourceUnreachable, match="the server answers 404"),
    ):
        watch(f"{server.url}/a.m3u8")


def test_what_a_live_stream_left_behind_is_not_shown(hls: Path) -> None:
    text = segments(*NAMES).replace("DURATION:1", "DURATION:1\n#EXT-X-MEDIA-SEQUENCE:70")
    with site(hls, {"96/a.m3u8": text}) as server, pytest.raises(SourceUnreachable, match="has ended"):
        watch(f"{server.url}/96/a.m3u8")


def test_only_sound_is_no_video(tmp_path: Path) -> None:
    write_clip(tmp_path / "list.m3u8", 36, audio_only=True, options={"hls_time": "0.5", "hls_list_size": "0"})
    top = '#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1,CODECS="mp4a.40.2"\nlist.m3u8\n'
    with site(tmp_path, {"top.m3u8": top}) as server:
        for path in ("list.m3u8", "top.m3u8"):
            with pytest.raises(SourceUnsupported, match="has no video"):
                watch(f"{server.url}/{path}")


@pytest.mark.parametrize("types", ["application/dash+xml", "text/xml"])
def test_dash_is_refused_in_plain_words(tmp_path: Path, types: str) -> None:
    text = '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"></MPD>'
    with (
        site(tmp_path, {"a.mpd": text}, Content_Type=types) as server,
        pytest.raises(SourceUnsupported, match=r"is DASH, .*: take its HLS or RTSP address"),
    ):
        watch(f"{server.url}/a.mpd")


def spliced(hls: Path, folder: Path) -> dict[str, bytes]:
    """Segments of another camera: other size, clock and PIDs."""
    found = {}
    for name in NAMES:
        command = ["ffmpeg", "-loglevel", "error", "-i", str(hls / "192" / name), "-c", "copy"]
        command += ["-mpegts_start_pid", "0x300", "-mpegts_pmt_start_pid", "0x1100", "-output_ts_offset", "5000"]
        subprocess.run([*command, str(folder / name)], check=True)
        found[f"ad-{name}"] = (folder / name).read_bytes()
    return found


def test_an_advertisement_in_the_middle(hls: Path, tmp_path: Path) -> None:
    """PyAV does not see streams that come later, and fails at the end."""
    cut = "#EXT-X-DISCONTINUITY\n"
    own, ad = segments(*(f"96/{name}" for name in NAMES)), segments(*(f"ad-{name}" for name in NAMES))
    body = own.removesuffix("#EXT-X-ENDLIST\n")
    text = body + cut + ad.removeprefix(HEAD).removesuffix("#EXT-X-ENDLIST\n") + cut + own.removeprefix(HEAD)
    with site(hls, {"a.m3u8": text, **spliced(hls, tmp_path)}) as server:
        frames = list(source_of(f"{server.url}/a.m3u8", realtime=False).frames())
        assert [frame.height for frame in frames if number_in(frame) == 5] == [96, 192, 96]
        lost = text.replace("ad-", "none-")
    with site(hls, {"a.m3u8": lost}) as server:
        assert watch(f"{server.url}/a.m3u8") == [*range(36), *range(36)]


def test_a_live_stream_goes_on_behind_a_cut(hls: Path, tmp_path: Path) -> None:
    """And is joined behind the last one."""
    names = [f"96/{name}" for name in NAMES] + [f"ad-{name}" for name in NAMES]
    looks, ad = iter((3, 4, 5)), spliced(hls, tmp_path)

    def look(request: BaseHTTPRequestHandler) -> None:
        listed = segments(*names[: next(looks, 6)], end=False).replace("#EXTINF:0.5,\nad-", "#EXT-X-CUT\nad-", 1)
        listed = listed.replace("#EXT-X-CUT", "#EXT-X-DISCONTINUITY\n#EXTINF:0.5,")
        send(request, listed.encode())

    heights: list[int] = []
    for _ in range(2):
        with site(hls, {"live.m3u8": look, **ad}) as server:
            source = source_of(f"{server.url}/live.m3u8", read_timeout_s=2)
            with pytest.raises((SourceStalled, SourceEnded)):
                heights.extend(frame.height for frame in source.frames())
    assert list(dict.fromkeys(heights)) == [96, 192]
    assert heights.count(96) < 40 < heights.count(192)


class Window:
    """A live playlist of three segments that has moved on by one at each look, from ``first``."""

    def __init__(self, folder: Path, first: int, looks: int, gone: int | None = None) -> None:
        self._next, self._left = first, looks
        self.extra: dict[str, Any] = {"live.m3u8": self._look}
        for number in range(first, first + looks + 8):
            data = (folder / "96" / NAMES[number % 3]).read_bytes()
            self.extra[f"{number}.ts"] = 404 if number == gone else data

    def _look(self, request: BaseHTTPRequestHandler) -> None:
        if self._left:
            self._left -= 1
            self._next += 1
        shown = range(self._next - 1, self._next + 5)
        head = HEAD + f"#EXT-X-MEDIA-SEQUENCE:{shown[0]}\n"
        send(request, (head + "".join(f"#EXTINF:0.1,\n{number}.ts\n" for number in shown)).encode())


def fetched(server: Site) -> list[int]:
    return [int(name[1:-3]) for name in server.asked if name.endswith(".ts")]


def test_a_live_stream_begins_at_its_edge_and_goes_on(hls: Path) -> None:
    """Also when it is opened again; a segment that is gone is passed over."""
    window = Window(hls, first=30, looks=8, gone=36)
    with site(hls, window.extra) as server:
        for _ in range(2):
            with pytest.raises((SourceStalled, SourceEnded)):
                watch(f"{server.url}/live.m3u8", read_timeout_s=0.8)
        first, again = fetched(server)[:8], fetched(server)[-3:]
    assert first[:3] == [33, 34, 35], "the last three of 30 to 35"
    assert first == sorted(first)
    assert again[-1] == max(fetched(server))
    assert {36, 37} <= set(first)


def test_a_playlist_without_a_duration_is_not_asked_for_without_end(hls: Path) -> None:
    """FFmpeg did so a thousand times a second."""
    text = segments(*NAMES, end=False).replace("#EXT-X-TARGETDURATION:1\n", "").replace("0.5", "0.001")
    with site(hls, {"96/a.m3u8": text}) as server:
        with pytest.raises((SourceStalled, SourceEnded)):
            watch(f"{server.url}/96/a.m3u8", read_timeout_s=1)
        assert server.asked.count("/96/a.m3u8") < 9


def test_a_server_that_cannot_answer_for_a_moment(hls: Path) -> None:
    """Its playlist; 404 is another thing."""
    window = Window(hls, first=30, looks=12)
    look, count = window.extra["live.m3u8"], iter(range(100))

    def sometimes(request: BaseHTTPRequestHandler) -> None:
        if next(count) in (1, 2):
            send(request, b"", 503)
        else:
            look(request)

    with site(hls, window.extra | {"live.m3u8": sometimes}) as server:
        with pytest.raises((SourceStalled, SourceEnded)):
            watch(f"{server.url}/live.m3u8", read_timeout_s=1.5)
        assert max(fetched(server)) > 37


def test_live_fragments_of_another_size(tmp_path: Path) -> None:
    """FFmpeg goes by the first init segment, and decodes the others into rubbish."""
    for name, size in (("a", (192, 96)), ("b", (384, 192))):
        (tmp_path / name).mkdir()
        options = {"hls_time": "0.5", "hls_list_size": "0", "hls_segment_type": "fmp4"}
        write_clip(tmp_path / name / "list.m3u8", 24, fps=24, size=size, options=options)
    parts = [
        f'#EXT-X-MAP:URI="{name}/init.mp4"\n' + "".join(f"#EXTINF:0.5,\n{name}/list{n}.m4s\n" for n in range(2))
        for name in "ab"
    ]
    seen: list[int] = []
    looks = iter([HEAD + parts[0]])

    def grow(request: BaseHTTPRequestHandler) -> None:
        send(request, next(looks, HEAD + "#EXT-X-DISCONTINUITY\n".join(parts)).encode())

    with site(tmp_path, {"live.m3u8": grow}) as server, pytest.raises(SourceStalled):
        seen.extend(frame.width for frame in source_of(f"{server.url}/live.m3u8", read_timeout_s=1.5).frames())
    assert list(dict.fromkeys(seen)) == [192, 384]
    with site(tmp_path, {"live.m3u8": grow}) as server:
        assert next(source_of(f"{server.url}/live.m3u8").frames()).width == 384


def test_a_stop_ends_the_wait_for_more(hls: Path) -> None:
    stop = threading.Event()
    window = Window(hls, first=30, looks=0)
    with site(hls, window.extra) as server:
        timer = threading.Timer(0.5, stop.set)
        timer.start()
        started = time.monotonic()
        with suppress(SourceError):
            list(source_of(f"{server.url}/live.m3u8", stop, read_timeout_s=10).frames())
        timer.join()
    assert time.monotonic() - started < scaled(5)
