from __future__ import annotations

from pathlib import Path

import pytest

from streamd.sources.unreadable import why_unreadable

CUT = "has no index that can be read: its recording or download was cut short"
PLAYLIST = "is a playlist: name the video that it names"


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (b"", "is empty"),
        (b"\0\0\0\x20ftypisom", CUT),
        (b"\0\0\0\x08wide\0\0\0\0mdat", CUT),
        (b"#EXTM3U\n#EXTINF:1,\na.ts\n", PLAYLIST),
        (b"\xef\xbb\xbf#EXTM3U\r\n", PLAYLIST),
        (b"ffconcat version 1.0\nfile a.mp4\n", PLAYLIST),
        (b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\n", PLAYLIST),
        (b"\n<!DOCTYPE html><html>404", "is a web page, not a video: its download failed"),
        (b"PK\x03\x04rest", "is an archive: unpack it"),
        (b"hello", "is not a video that can be decoded"),
        (b"v=0", "is not a video that can be decoded"),
    ],
)
def test_it_says_what_can_be_done(tmp_path: Path, head: bytes, reason: str) -> None:
    file = tmp_path / "a.mp4"
    file.write_bytes(head)
    assert why_unreadable(str(file)) == reason


def test_what_cannot_be_looked_at(tmp_path: Path) -> None:
    assert why_unreadable(str(tmp_path / "none")) == "is not a video that can be decoded"
