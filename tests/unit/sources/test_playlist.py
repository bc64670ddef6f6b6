"""What is read in HLS playlists."""

from __future__ import annotations

import pytest

from streamd.errors import SourceUnsupported
from streamd.sources.budget import OverBudget
from streamd.sources.playlist import (
    Variables,
    attributes,
    best_first,
    has_ended,
    is_playlist,
    lists_segments,
    media_text,
    sections,
    variants,
)


def lines(text: str, url: str = "http://h/a", **imported: str) -> list[str]:
    return list(Variables("camera", imported).lines(text.encode(), url))


@pytest.mark.parametrize("head", ["#EXTM3U", "\ufeff#EXTM3U\r\n", "\n \t#EXTM3U x"])
def test_a_playlist_by_its_beginning(head: str) -> None:
    assert is_playlist(head.encode())


@pytest.mark.parametrize("head", ["", "#EXT", "<html>#EXTM3U", "#EXTINF:1,"])
def test_no_playlist(head: str) -> None:
    assert not is_playlist(head.encode())


def test_attributes_with_commas_and_blanks() -> None:
    found = attributes('#EXT-X-STREAM-INF:BANDWIDTH=1, CODECS="avc1.4d,mp4a.40.2",NAME="a=b, c",RESOLUTION = 1x2 ,X=')
    assert found == {"BANDWIDTH": "1", "CODECS": "avc1.4d,mp4a.40.2", "NAME": "a=b, c", "RESOLUTION": "1x2", "X": ""}


def quality(uri: str, **fields: str | int) -> str:
    text = ",".join(f"{name.replace('_', '-')}={value}" for name, value in fields.items())
    return f"#EXT-X-STREAM-INF:{text}\n{uri}\n"


LADDER = "".join(quality(f"{h}", BANDWIDTH=h * 1000, RESOLUTION=f"{h * 16 // 9}x{h}") for h in (360, 1080, 720, 2160))
CASES: dict[str, tuple[str, int | None, list[str]]] = {
    "the height": (LADDER, 720, ["720", "1080", "2160", "360"]),
    "between two": (LADDER, 480, ["720", "1080", "2160", "360"]),
    "less than the least": (LADDER, 240, ["360", "720", "1080", "2160"]),
    "more than the most": (LADDER, 4320, ["2160", "1080", "720", "360"]),
    "any": (LADDER, None, ["2160", "1080", "720", "360"]),
    "no sizes": (quality("a", BANDWIDTH=5) + quality("b", BANDWIDTH=9) + quality("c"), 720, ["b", "a", "c"]),
    "a size and none": (quality("a", BANDWIDTH=5) + quality("b", RESOLUTION="1x2"), 720, ["b", "a"]),
    "equal sizes": (
        quality("a", BANDWIDTH=5, RESOLUTION="9x9") + quality("b", BANDWIDTH=9, RESOLUTION="9x9"),
        720,
        ["b", "a"],
    ),
    "copies": (quality("a", RESOLUTION="9x9") + quality("b", RESOLUTION="9x9"), 720, ["a", "b"]),
    "high dynamic range": (
        quality("a", BANDWIDTH=9, RESOLUTION="9x9", VIDEO_RANGE="PQ") + quality("b", BANDWIDTH=1, RESOLUTION="9x9"),
        720,
        ["b", "a"],
    ),
    "sound": (quality("a", BANDWIDTH=9, CODECS='"mp4a.40.2"') + quality("b", CODECS='"avc1,mp4a"'), 720, ["b"]),
    "only sound": (quality("a", CODECS='"mp4a.40.2, ec-3"'), 720, []),
    "sound with a size": (quality("a", CODECS='"mp4a.40.2"', RESOLUTION="9x9"), 720, ["a"]),
    "odd numbers": (quality("a", BANDWIDTH="x", RESOLUTION="axb") + quality("b", BANDWIDTH="7.5"), 720, ["b", "a"]),
    "a comment between": ("#EXT-X-STREAM-INF:BANDWIDTH=1\n# here\na\n", 720, ["a"]),
    "a segment": ("#EXTINF:1,\na.ts\n", 720, []),
    "nothing follows": ("#EXT-X-STREAM-INF:BANDWIDTH=1\n", 720, []),
}


@pytest.mark.parametrize("case", CASES)
def test_the_best_that_the_height_needs(case: str) -> None:
    text, height, expected = CASES[case]
    assert [each.uri for each in best_first(variants(lines("#EXTM3U\n" + text)), height)] == expected


def test_variables_stand_for_their_values() -> None:
    text = '#EXTM3U\n#EXT-X-DEFINE:NAME="a",VALUE="1"\n#EXT-X-DEFINE:IMPORT="b"\n#EXT-X-DEFINE:QUERYPARAM="c"\n'
    assert lines(text + "{$a}/{$b}/{$c}{$a}", "http://h/?c=3%2F&d=4", b="2")[1:] == ["1/2/3/1"]


@pytest.mark.parametrize(
    "define", ["", '#EXT-X-DEFINE:IMPORT="a"', '#EXT-X-DEFINE:QUERYPARAM="a"', '#EXT-X-DEFINE:NAME="b",VALUE="1"']
)
def test_a_variable_that_nobody_defines(define: str) -> None:
    with pytest.raises(SourceUnsupported, match="does not define a"):
        lines(f"#EXTM3U\n{define}\n{{$a}}.ts")


def test_a_short_playlist_of_long_values_is_refused() -> None:
    with pytest.raises(OverBudget):
        lines(f'#EXTM3U\n#EXT-X-DEFINE:NAME="a",VALUE="{"x" * 100_000}"\n' + "{$a}" * 100_000)


def test_only_what_is_played_is_left_of_a_media_playlist() -> None:
    kept = '#EXT-X-MAP:URI="i"\n#EXTINF:1,\na.ts\n#EXT-X-BYTERANGE:5@0\n#EXT-X-ENDLIST\n'
    other = '#EXT-X-MEDIA:TYPE=AUDIO,URI="a"\n#EXT-X-PART:URI="p"\n#EXT-X-STREAM-INF:X=1\n'
    assert media_text(lines("#EXTM3U x\n" + other + kept), "camera") == "#EXTM3U\n#EXT-X-TARGETDURATION:1\n" + kept


@pytest.mark.parametrize(("given", "expected"), [("", 1), ("0", 1), ("-5", 1), ("x", 1), ("6", 6), ("4.6", 5)])
def test_it_is_not_asked_for_more_often_than_twice_a_second(given: str, expected: int) -> None:
    text = f"#EXTM3U\n#EXT-X-TARGETDURATION:{given}\n#EXTINF:1,\na.ts"
    assert media_text(lines(text), "camera").split("\n")[1] == f"#EXT-X-TARGETDURATION:{expected}"


@pytest.mark.parametrize(
    ("length", "expected"), [("2.5,", True), ("0.04", True), ("0,x", False), ("-1 tvg-id=2,", False)]
)
def test_segments_have_lengths(length: str, expected: bool) -> None:
    assert lists_segments(["#EXTM3U", f"#EXTINF:{length}", "a.ts"]) is expected
    assert lists_segments(["#EXTM3U", "#EXT-X-TARGETDURATION:2", f"#EXTINF:{length}", "a.ts"])


HEAD = ["#EXTM3U", "#EXT-X-TARGETDURATION:2", "#EXT-X-MEDIA-SEQUENCE:70"]
KEY, OLD_INIT, NEW_INIT = '#EXT-X-KEY:METHOD=AES-128,URI="k"', '#EXT-X-MAP:URI="a"', '#EXT-X-MAP:URI="b"'


def of(*names: str) -> list[str]:
    return [line for name in names for line in ("#EXTINF:2,", name)]


@pytest.mark.parametrize("between", [["#EXT-X-DISCONTINUITY"], [NEW_INIT], ["#EXT-X-DISCONTINUITY", NEW_INIT]])
def test_a_section_ends_where_another_format_may_begin(between: list[str]) -> None:
    found = sections([*HEAD, KEY, OLD_INIT, *of("1", "2"), *between, *of("3"), "#EXT-X-ENDLIST"])
    assert [section.begin for section in found] == [70, 72]
    assert found[0].lines == [HEAD[1], HEAD[2], KEY, OLD_INIT, *of("1", "2")]
    init = [] if NEW_INIT in between else [OLD_INIT]
    new = [NEW_INIT] if NEW_INIT in between else []
    assert found[1].lines == [HEAD[1], "#EXT-X-MEDIA-SEQUENCE:72", KEY, *init, *new, *of("3")]


def test_a_section_has_the_newest_keys() -> None:
    """Those that stand together are the same key for different players."""
    keys = [f'#EXT-X-KEY:METHOD=AES-128,URI="{name}"' for name in "abc"]
    lines = [*HEAD, keys[0], *of("1"), keys[1], keys[2], *of("2"), "#EXT-X-DISCONTINUITY", *of("3")]
    assert sections(lines)[1].lines == [HEAD[1], "#EXT-X-MEDIA-SEQUENCE:72", keys[1], keys[2], *of("3")]


def test_one_format_is_one_section() -> None:
    for lines in ([*HEAD, *of("1", "2")], [*HEAD, "#EXT-X-DISCONTINUITY", OLD_INIT, *of("1"), OLD_INIT, *of("2")]):
        assert [section.begin for section in sections(lines)] == [70]
    assert sections(HEAD) == []


@pytest.mark.parametrize(
    ("text", "ended"),
    [
        ("#EXT-X-MEDIA-SEQUENCE:7\n#EXT-X-ENDLIST", True),
        ("#EXT-X-MEDIA-SEQUENCE:7", False),
        ("#EXT-X-MEDIA-SEQUENCE:1\n#EXT-X-ENDLIST", False),
        ("#EXT-X-MEDIA-SEQUENCE:x\n#EXT-X-ENDLIST", False),
        ("#EXT-X-ENDLIST", False),
        ("#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-MEDIA-SEQUENCE:7\n#EXT-X-ENDLIST", False),
    ],
)
def test_what_a_live_stream_left_behind(text: str, ended: bool) -> None:
    assert has_ended(text.split("\n")) is ended
