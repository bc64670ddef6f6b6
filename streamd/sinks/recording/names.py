"""The one codec of the names of recorded files: STREAM/STARTED-VIEW.mp4 (depth16: .mkv), STARTED in UTC.

Streams may have dots and dashes in their names, and one name may begin with another: so each has a
folder. Views have dashes too: so the time, whose length is fixed, stands before them.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import NamedTuple

from streamd.config.sections import RECORDED_VIEWS, STREAM_NAME

_FILE = re.compile(rf"(\d{{4}}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{{3}}Z)-({'|'.join(RECORDED_VIEWS)})(\.mp4|\.mkv)", re.ASCII)
_FIRST_S, _LAST_S = -62_135_596_800.0, 253_402_300_799.0
"""The years that dates have."""
_STREAM = re.compile(STREAM_NAME)


class SegmentName(NamedTuple):
    """What the path of a recorded file contains. Sorts by time."""

    moment: str
    """When it began, as in the path."""
    stream: str
    view: str

    @property
    def path(self) -> str:
        """Below the directory that is recorded to, as in /recordings/PATH."""
        return f"{self.stream}/{self.file}"

    @property
    def file(self) -> str:
        return f"{self.moment}-{self.view}{_ending(self.view)}"

    @property
    def started(self) -> datetime:
        return _time(self.moment)


def name_segment(stream: str, view: str, started: datetime) -> SegmentName:
    return SegmentName(_moment(started), stream, view)


def parse_path(path: str) -> SegmentName:
    """Raises ValueError for any other path than that of a recording."""
    stream, _, file = path.partition("/")
    name = parse_file(stream, file) if is_stream(stream) else None
    if name is None:
        raise ValueError(f"{path}: not the path of a recording")
    return name


def parse_file(stream: str, file: str) -> SegmentName | None:
    """None for a file that is no recording."""
    match = _FILE.fullmatch(file)
    if match is None or match[3] != _ending(match[2]):
        return None
    try:
        _time(match[1])
    except ValueError:  # such as the 30th of February
        return None
    return SegmentName(match[1], stream, match[2])


def is_stream(folder: str) -> bool:
    """Whether a stream may have this name."""
    return bool(_STREAM.fullmatch(folder)) and not folder.endswith("\n")


def position(text: str) -> SegmentName:
    """What comes before the recording of this path, or before this UTC time, such as 2026-11-25T03:41:23Z,
    is less than this. Raises ValueError."""
    if "/" in text:
        return parse_path(text)
    try:
        return SegmentName(_moment(datetime.fromisoformat(text)), "", "")
    except OverflowError as error:  # in UTC it is before the year 1, or after 9999
        raise ValueError(text) from error


def moment_at(unix_s: float) -> str:
    """As in a name; the nearest that a name can have, for what is beyond."""
    return _moment(date_at(unix_s))


def date_at(unix_s: float) -> datetime:
    """UTC; the nearest date that there is, for what is beyond."""
    return datetime.fromtimestamp(min(max(unix_s, _FIRST_S), _LAST_S), UTC)


def _ending(view: str) -> str:
    return ".mkv" if view == "depth16" else ".mp4"


def _moment(time: datetime) -> str:
    """A time without a zone is taken as UTC."""
    if time.tzinfo is not None:
        time = time.astimezone(UTC)
    return time.strftime("%Y-%m-%dT%H-%M-%S.%f")[:-3].rjust(23, "0") + "Z"


def _time(moment: str) -> datetime:
    return datetime.fromisoformat(f"{moment[:13]}:{moment[14:16]}:{moment[17:23]}+00:00")
