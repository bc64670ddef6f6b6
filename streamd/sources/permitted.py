"""What the API may set as ``source =``. Narrower than what the configuration file may: who may add a stream may neither
read nor write the service's files, nor send its secrets to a host of their choice."""

from __future__ import annotations

import re

from streamd.config.address import SourceAddress, SourceKind
from streamd.config.sections import StreamConfig
from streamd.errors import Problem
from streamd.sources.media_directories import NO_MEDIA, MediaDirectories

MAX_SIDE_PX = 4096
_DEVICE = re.compile(r"/dev/video\d{1,3}|/dev/v4l/by-(id|path)/[^/.][^/]{0,254}")
_FILTER = re.compile(r"(\[\w+\])*(?P<name>[a-z0-9]+)(=(?P<arguments>[^\[\]]*))?(\[\w+\])*", re.ASCII)
_VALUE = re.compile(r"(?P<size>(\d{1,4})x(\d{1,4}))|[A-Za-z][\w-]*|0x[0-9A-Fa-f]+|\d{1,4}(\.\d+)?", re.ASCII)
"""What FFmpeg may take for a size; it would also take 99999*99999."""
_PATTERNS = """
    allrgb allyuv color colorspectrum gradients mandelbrot nullsrc pal100bars pal75bars rgbtestsrc sierpinski smptebars
    smptehdbars testsrc testsrc2 yuvtestsrc zoneplate
"""
_CHANGES = """
    colorbalance drawbox drawgrid eq fade format fps hflip hue negate noise null realtime setsar transpose trim vflip
"""
_FILTERS = frozenset(f"{_PATTERNS} {_CHANGES}".split())
"""None has an option that names a file, an address or another filter."""
_LIFE = frozenset(
    {"mold", "r", "random_fill_ratio", "random_seed", "rate", "ratio", "rule", "s", "seed", "size", "stitch"}
)
"""Options of the pattern ``life`` that name no file. Its first without a name does."""


def problems(
    name: str, wanted: StreamConfig, current: StreamConfig | None, media: MediaDirectories = NO_MEDIA
) -> list[Problem]:
    """What is wrong with the settings that a client of the API wants for the stream. ``current``: those it has; a
    source that stays as it is may be what it is. Does no input or output."""
    if current is not None and current.source == wanted.source:
        return []
    reason = _reason(SourceAddress.parse(wanted.source), media)
    return [Problem(f"streams.{name}.source", "", f"{reason}; the configuration file may")] if reason else []


def _reason(address: SourceAddress, media: MediaDirectories) -> str | None:
    """Why the API may not set it; None: it may."""
    if address.login and address.login.is_reference:
        return "the API may not set env: or file: references"
    match address.kind:
        case SourceKind.FILE if not media.contains(address.path):
            return "the API may not set a file that is not in server.media_directories"
        case SourceKind.WEBCAM if not _DEVICE.fullmatch(address.path):
            return "the API may not set a device that is no camera: /dev/videoN or /dev/v4l/by-id/..."
        case SourceKind.LAVFI:
            return _graph_reason(address.path)
        case SourceKind.UDP | SourceKind.SRT if "?" in address.path:
            return f"the API may not set options of {address.scheme}://"
    return None


def _graph_reason(graph: str) -> str | None:
    """Only patterns and filters that are known to touch neither files nor the network.

    Without quotes and backslashes, FFmpeg ends a filter at each of ``, ; [``, and nowhere else.
    """
    if set(graph) & set("'\\"):
        return "the API may not set a lavfi: graph with quotes or backslashes"
    for text in re.split("[,;]", graph):
        found = _FILTER.fullmatch(text.strip())
        arguments = [each for each in ((found and found["arguments"]) or "").split(":") if each]
        if found is None or not _is_harmless(found["name"], arguments):
            name = ascii(text.strip().partition("=")[0][:24])
            return f"the API may not set a lavfi: graph with {name}, or not like this"
        if not all(_is_small(each) for each in arguments):
            return f"the API may not set a picture of more than {MAX_SIDE_PX} pixels a side"
    return None


def _is_harmless(name: str, arguments: list[str]) -> bool:
    if name == "life":
        return all(each.partition("=")[0].strip() in _LIFE and "=" in each for each in arguments)
    return name in _FILTERS


def _is_small(argument: str) -> bool:
    """False for what may be a size and is too large, or cannot be read."""
    key, equals, value = argument.rpartition("=")
    if equals and key.strip() not in ("s", "size"):
        return True
    found = _VALUE.fullmatch(value.strip())
    return found is not None and (found["size"] is None or max(int(found[2]), int(found[3])) <= MAX_SIDE_PX)
