"""HLS playlists as text (RFC 8216, and its second edition, draft-pantos-hls-rfc8216bis)."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

from streamd.errors import SourceUnsupported
from streamd.sources.budget import MIB, OverBudget

MAX_TEXT_BYTES = 4 * MIB
"""A playlist: a day of segments of 2 s."""
BEGIN = b"#EXTM3U"
_BLANK = b"\xef\xbb\xbf\r\n\t "
_ATTRIBUTE = re.compile(r'([A-Z0-9-]+)\s*=\s*("[^"]*"|[^,]*)')
_VARIABLE = re.compile(r"\{\$([A-Za-z0-9_-]+)\}")
_TARGET, _SEQUENCE, END = "#EXT-X-TARGETDURATION:", "#EXT-X-MEDIA-SEQUENCE:", "#EXT-X-ENDLIST"
_DISCONTINUITY, _TYPE = "#EXT-X-DISCONTINUITY", "#EXT-X-PLAYLIST-TYPE:"
_KEY, _MAP, _OF_SEGMENT = "#EXT-X-KEY:", "#EXT-X-MAP:", ("#EXTINF:", "#EXT-X-BYTERANGE:")
_READ = ("EXTINF:", "EXT-X-BYTERANGE:", "EXT-X-KEY:", "EXT-X-MAP:", "EXT-X-MEDIA-SEQUENCE:", "EXT-X-PLAYLIST-TYPE:")
_KEPT = (*(f"#{tag}" for tag in _READ), END)
"""What FFmpeg needs of a media playlist; of the rest some would make it open more than we play."""
_AUDIO = re.compile(r"(mp4a|ac-3|ec-3|ac-4|opus|flac|alac|mp3|dts[a-z]|stpp|wvtt)\b", re.IGNORECASE)
_METHODS = ("SAMPLE-AES", "SAMPLE-AES-CTR", "AES-256", "AES-256-GCM")


class Playlist(io.BytesIO):
    """A media playlist, as PyAV reads a file. Read as a whole before FFmpeg sees any of it."""

    def __init__(self, name: str, text: str) -> None:
        self._text = text.encode(errors="surrogateescape")
        super().__init__(self._text)
        self.name = name
        """Its address: what is relative in it is relative to that."""

    def again(self) -> io.BytesIO:
        """Also when FFmpeg has closed this one."""
        return io.BytesIO(self._text)

    @property
    def listed_bytes(self) -> int:
        """About what FFmpeg keeps of it: an absolute address for each line."""
        return self._text.count(b"\n") * len(self.name)


def is_playlist(head: bytes) -> bool:
    """``head`` is how it begins."""
    return head.lstrip(_BLANK).startswith(BEGIN)


def attributes(line: str) -> dict[str, str]:
    """Of ``#EXT-X-TAG:NAME=value,NAME="value, with commas"``."""
    return {name: value.strip().strip('"') for name, value in _ATTRIBUTE.findall(line.partition(":")[2])}


class Variables:
    """``#EXT-X-DEFINE`` of a playlist, and what its ``{$NAME}`` stand for (8216bis, 4.3)."""

    def __init__(self, source: str, imported: Mapping[str, str]) -> None:
        """``source`` is the name for errors; ``imported``: those of the playlist that named this one."""
        self.values: dict[str, str] = {}
        self._source = source
        self._imported = imported
        self._added = 0

    def lines(self, data: bytes, url: str) -> Iterator[str]:
        """Those of a playlist at ``url`` that say something, with the values in their places. Raises
        SourceUnsupported, OverBudget."""
        text = data.lstrip(_BLANK).decode(errors="surrogateescape")
        for line in re.split(r"[\r\n]+", text):
            line = _VARIABLE.sub(self._value, line.strip())
            if line.startswith("#EXT-X-DEFINE:"):
                self._define(attributes(line), url)
            elif line:
                yield line

    def _define(self, fields: Mapping[str, str], url: str) -> None:
        name, value = fields.get("NAME"), fields.get("VALUE")
        if name is None:
            name = fields.get("IMPORT") or fields.get("QUERYPARAM") or ""
            asked = dict(parse_qsl(urlsplit(url).query))
            value = (self._imported if "IMPORT" in fields else asked).get(name)
        if value is not None:
            self.values[name] = value

    def _value(self, found: re.Match[str]) -> str:
        value = self.values.get(found[1])
        if value is None:
            raise SourceUnsupported(self._source, f"has a playlist that does not define {found[1][:24]}")
        self._added += len(value)
        if self._added > MAX_TEXT_BYTES:
            raise OverBudget(self._source, f"has a playlist of more than {MAX_TEXT_BYTES // MIB} MiB")
        return value


@dataclass(frozen=True)
class Variant:
    """One quality, by ``#EXT-X-STREAM-INF``, or a copy of it on another server."""

    uri: str
    height: int | None
    bandwidth: int
    is_sdr: bool
    codecs: tuple[str, ...] = ()

    @property
    def has_video(self) -> bool:
        return self.height is not None or not self.codecs or not all(map(_AUDIO.match, self.codecs))

    @classmethod
    def parse(cls, line: str, uri: str) -> Variant:
        fields = attributes(line)
        size = re.fullmatch(r"\d{1,6}[xX](\d{1,6})", fields.get("RESOLUTION", ""))
        bandwidth = re.match(r"\d{1,15}", fields.get("BANDWIDTH", ""))
        codecs = tuple(codec.strip() for codec in fields.get("CODECS", "").split(",") if codec.strip())
        is_sdr = fields.get("VIDEO-RANGE", "SDR") == "SDR"
        return cls(uri, int(size[1]) if size else None, int(bandwidth[0]) if bandwidth else 0, is_sdr, codecs)


def variants(lines: list[str]) -> list[Variant]:
    """All qualities that a master playlist lists, in its order; empty: it is no master playlist."""
    found, line = [], ""
    for text in lines:
        if text.startswith("#EXT-X-STREAM-INF:"):
            line = text
        elif line and not text.startswith("#"):
            found.append(Variant.parse(line, text))
            line = ""
    return found


def best_first(qualities: list[Variant], height: int | None) -> list[Variant]:
    """Those with video: the smallest that has ``height`` first, without one the largest; of equal ones, which may be
    copies, as listed."""

    def rank(variant: Variant) -> tuple[int, int, bool, int]:
        if variant.height is None:
            return 2, 0, not variant.is_sdr, -variant.bandwidth
        missing = (height or 10**6) - variant.height
        return int(missing > 0), abs(missing), not variant.is_sdr, -variant.bandwidth

    return sorted((each for each in qualities if each.has_video), key=rank)


def media_text(lines: list[str], source: str) -> str:
    """What FFmpeg is given of a media playlist. Raises SourceUnsupported, with the name ``source``, when it is
    encrypted in a way that only players with a licence know."""
    kept = [line for line in lines if not line.startswith("#") or line.startswith(_KEPT)]
    keys = {line: attributes(line) for line in kept if line.startswith(_KEY)}
    foreign = {line: fields for line, fields in keys.items() if not _is_usable(fields)}
    if foreign and all(fields.get("METHOD") == "NONE" for line, fields in keys.items() if line not in foreign):
        method = next(
            (fields["METHOD"] for fields in foreign.values() if fields.get("METHOD") in _METHODS), "a licence"
        )
        raise SourceUnsupported(source, f"is encrypted with {method}: streamd knows AES-128 with a plain key")
    # FFmpeg asks anew each half of this: without it, or with 0, as fast as the server answers.
    target = f"{_TARGET}{max(1, *map(_number, tags(lines, _TARGET)), 0):.0f}"
    return "\n".join([BEGIN.decode(), target, *(line for line in kept if line not in foreign), ""])


def tags(lines: list[str], tag: str) -> list[str]:
    """What follows each ``tag``."""
    return [line[len(tag) :].strip() for line in lines if line.startswith(tag)]


def lists_segments(lines: list[str]) -> bool:
    """Whether it lists parts of one video, and not, say, channels, which have no lengths."""
    return bool(tags(lines, _TARGET)) or any(_number(length) > 0 for length in tags(lines, "#EXTINF:"))


class Section(NamedTuple):
    """Segments of one format; FFmpeg reads each section with a demuxer of its own."""

    lines: list[str]
    begin: int
    """The number of its first segment."""


def sections(lines: list[str]) -> list[Section]:
    """Of a media playlist: cut at each discontinuity, such as an advertisement, and where the init segment changes."""
    number = round(sum(map(_number, tags(lines, _SEQUENCE))))
    found: list[Section] = []
    keys, init, pending = list[str](), "", list[str]()
    shown_init, is_cut, follows_key = "", True, False
    for line in lines:
        if line == _DISCONTINUITY:
            is_cut = True
        elif line.startswith(_KEY):
            keys = [*keys, line] if follows_key else [line]
            pending.append(line)
        elif line.startswith(_MAP):
            init = line
            pending.append(line)
        elif line.startswith(_OF_SEGMENT):
            pending.append(line)
        elif not line.startswith("#"):
            if is_cut or init != shown_init:
                carried = [each for each in (*keys, init) if each and each not in pending]
                found.append(Section([f"{_SEQUENCE}{number}", *carried], number))
            found[-1].lines.extend([*pending, line])
            shown_init, is_cut, pending, number = init, False, [], number + 1
        follows_key = line.startswith(_KEY)
    head = [line for line in lines if line.startswith((_TARGET, _TYPE))]
    return [Section([*head, *lines], begin) for lines, begin in found]


def is_live(lines: list[str]) -> bool:
    return END not in lines


def _number(text: str) -> float:
    """That it begins with; 0 when it does not."""
    found = re.match(r"\d{1,15}(\.\d{1,9})?", text)
    return float(found[0]) if found else 0.0


def _is_usable(key: Mapping[str, str]) -> bool:
    method = key.get("METHOD", "NONE")
    return method == "NONE" or (method == "AES-128" and key.get("KEYFORMAT", "identity") == "identity")


def has_ended(lines: list[str]) -> bool:
    """Whether it is what a live stream left behind: its beginning is gone, and nothing more comes."""
    is_cut = any(_number(first) > 1 for first in tags(lines, _SEQUENCE))
    return is_cut and not is_live(lines) and "#EXT-X-PLAYLIST-TYPE:VOD" not in lines
