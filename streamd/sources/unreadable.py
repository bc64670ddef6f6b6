"""Why FFmpeg cannot read a file, by its first bytes, where a person can do something about it."""

from __future__ import annotations

import re
from contextlib import suppress

_LOOKED_AT = 64
_REASONS = {
    "is empty": rb"\Z",
    "has no index that can be read: its recording or download was cut short": rb".{4}(ftyp|mdat|wide|free|skip|moov)",
    "is a playlist: name the video that it names": rb"(\xef\xbb\xbf)?\s*(#EXTM3U|ffconcat|\[playlist\]|v=0\s)",
    "is a web page, not a video: its download failed": rb"(\xef\xbb\xbf)?\s*<(?i:!doctype html|html)",
    "is an archive: unpack it": rb"PK\x03\x04|\x1f\x8b|7z\xbc\xaf|Rar!",
}
_PATTERNS = {reason: re.compile(pattern, re.DOTALL) for reason, pattern in _REASONS.items()}


def why_unreadable(path: str) -> str:
    """A phrase about a file that FFmpeg does not open."""
    with suppress(OSError), open(path, "rb") as file:
        head = file.read(_LOOKED_AT)
        for reason, pattern in _PATTERNS.items():
            if pattern.match(head):
                return reason
    return "is not a video that can be decoded"
