"""What the API may set as ``source =``. Narrower than what the configuration file may: who may add a stream may neither
read nor write the service's files, nor send its secrets to a host of their choice."""

from __future__ import annotations

import re

from streamd.config.address import SourceAddress, SourceKind
from streamd.config.sections import StreamConfig
from streamd.errors import Problem
from streamd.sources.media_directories import NO_MEDIA, MediaDirectories
from streamd.sources.permitted_graph import graph_reason

_DEVICE = re.compile(r"/dev/video\d{1,3}|/dev/v4l/by-(id|path)/[^/.][^/]{0,254}")


def problems(
    name: str, wanted: StreamConfig, current: StreamConfig | None, media: MediaDirectories = NO_MEDIA
) -> list[Problem]:
    """What is wrong with the settings that a client of the API wants for the stream. ``current``: those it has; a
    source that stays as it is may be what it is. Does no input or output."""
    if current is not None and current.source == wanted.source:
        return []
    reason = refusal(wanted.source, media)
    return [Problem(f"streams.{name}.source", "", f"{reason}; the configuration file may")] if reason else []


def refusal(source: str, media: MediaDirectories) -> str | None:
    """Why the API may not set it; None: it may. Does no input or output."""
    address = SourceAddress.parse(source)
    if address.login and address.login.is_reference:
        return "the API may not set env: or file: references"
    match address.kind:
        case SourceKind.FILE if not media.contains(address.path):
            return "the API may not set a file that is not in server.media_directories"
        case SourceKind.WEBCAM if not _DEVICE.fullmatch(address.path):
            return "the API may not set a device that is no camera: /dev/videoN or /dev/v4l/by-id/..."
        case SourceKind.LAVFI:
            return graph_reason(address.path)
        case SourceKind.UDP | SourceKind.SRT if "?" in address.path:
            return f"the API may not set options of {address.scheme}://"
    return None
