"""What the API may set as ``source =`` and ``push =``. Narrower than what the configuration file may: who may add a
stream may neither read nor write the service's files, nor send its secrets, or its pictures, to a host of their
choice."""

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
    source or push that stays as it is may be what it is. Does no input or output."""
    found = {}
    if current is None or current.source != wanted.source:
        found["source"] = refusal(wanted.source, media)
    if wanted.push != (current.push if current is not None else ()):
        found["push"] = "the API may not set where a stream is sent to"
    return [
        Problem(f"streams.{name}.{key}", "", f"{reason}; the configuration file may")
        for key, reason in found.items()
        if reason
    ]


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
