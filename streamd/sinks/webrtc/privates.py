"""The private parts of aiortc and aioice that streamd uses: each with its purpose, and what is lost without it.

A release may move any of it. Then streamd goes on without, or, where the filter against strangers' packets needs it,
without WebRTC: viewers get Motion JPEG. One warning at the start names what is lost, and
tests/unit/sinks/webrtc/test_privates.py fails. Only ``sinks/webrtc`` may touch such parts, and no other ones.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import aioice.ice
import aiortc.codecs
from aioice.ice import Connection
from aiortc import RTCCertificate, RTCDtlsTransport, RTCIceGatherer, RTCIceTransport, RTCRtpSender
from aiortc.rtcrtpparameters import RTCRtpHeaderExtensionParameters

from streamd.sinks.webrtc.filter import FilteredProtocol

log = logging.getLogger(__name__)

ENCODER = "_RTCRtpSender__encoder"
EXTENSIONS = "_RTCRtpSender__rtp_header_extensions_map"
NO_FILTER = "no viewer gets video by WebRTC, since strangers' packets would not be kept out"


@dataclass(frozen=True)
class PrivatePart:
    """Something of a library that it may move at any time."""

    name: str
    lost: str
    """What does not work without it."""
    ticket: str
    """Upstream, where an option for it is asked for."""
    is_there: Callable[[RTCRtpSender], bool]
    """Looks at a fresh sender, and by its transports at all that is below it."""


def connection(transport: RTCIceTransport) -> Connection | None:
    """aioice's, below aiortc's; None when it, or what ``gather`` and ``filter`` need of aioice, is not there."""
    found = getattr(transport, "_connection", None)
    return found if isinstance(found, Connection) and _can_gather(found) else None


def filters(transports: Iterable[RTCIceTransport]) -> tuple[FilteredProtocol, ...]:
    """Of the sockets that these have opened."""
    connections = [found for found in map(connection, transports) if found is not None]
    return tuple(each for found in connections for each in found._protocols if isinstance(each, FilteredProtocol))


def negotiated_extensions() -> list[RTCRtpHeaderExtensionParameters]:
    """Of RTP headers, for video, in every answer of this process: aiortc's own list. A list of nobody's without it."""
    found = getattr(aiortc.codecs, "HEADER_EXTENSIONS", {}).get("video")
    return found if isinstance(found, list) else []


def _can_gather(found: Connection) -> bool:
    return (
        isinstance(getattr(found, "_protocols", None), list)
        and hasattr(getattr(found, "_queue", None), "qsize")
        and "component" in _parameters(getattr(found, "get_component_candidates", None))
        and _parameters(getattr(aioice.ice, "relayed_candidate", None)) >= {"protocol_factory", "hide_related_address"}
        and hasattr(aioice.ice, "server_reflexive_candidate")
    )


def _parameters(function: object) -> set[str]:
    return set(inspect.signature(function).parameters) if callable(function) else set()


PARTS = (
    PrivatePart(
        "aiortc: RTCIceTransport._connection",
        NO_FILTER,
        "no ticket found",
        lambda sender: isinstance(getattr(sender.transport.transport, "_connection", None), Connection),
    ),
    PrivatePart(
        "aioice: Connection.get_component_candidates (replaced for each connection of ours), ._protocols; "
        "ice.server_reflexive_candidate, .relayed_candidate",
        NO_FILTER,
        "aioice #47, #57, #112",
        lambda sender: connection(sender.transport.transport) is not None,
    ),
    PrivatePart(
        "aioice: Connection._queue (its length)",
        NO_FILTER,
        "no ticket found",
        lambda sender: hasattr(
            getattr(getattr(sender.transport.transport, "_connection", None), "_queue", None), "qsize"
        ),
    ),
    PrivatePart(
        "aiortc: RTCRtpSender._send_keyframe (replaced for each sender of ours)",
        "a viewer that has lost its picture waits for the next keyframe",
        "aiortc #449, #544: nothing public for frames that are encoded already",
        lambda sender: callable(getattr(sender, "_send_keyframe", None)),
    ),
    PrivatePart(
        "aiortc: RTCRtpSender._retransmit (replaced for each sender of ours)",
        "a viewer may ask for as many retransmissions as it likes",
        "no ticket found",
        lambda sender: _parameters(getattr(sender, "_retransmit", None)) == {"sequence_number"},
    ),
    PrivatePart(
        f"aiortc: RTCRtpSender.{ENCODER}",
        "each viewer's packets are split anew, and REMB is not read",
        "aiortc #449, #544: nothing public for frames that are encoded already",
        lambda sender: ENCODER in vars(sender),
    ),
    PrivatePart(
        f"aiortc: RTCRtpSender.{EXTENSIONS}",
        "playout-delay and abs-capture-time are not sent: browsers buffer 40 ms more and cannot show the latency",
        "aiortc #541, #668",
        lambda sender: EXTENSIONS in vars(sender),
    ),
    PrivatePart(
        "aiortc: codecs.HEADER_EXTENSIONS (two are added, for the whole process)",
        "playout-delay and abs-capture-time are not negotiated",
        "aiortc #541, #668",
        lambda sender: bool(negotiated_extensions()),
    ),
)


def missing() -> list[PrivatePart]:
    """Those that the installed releases do not have. Needs a running loop; opens nothing."""
    transport = RTCIceTransport(RTCIceGatherer(iceServers=[]))
    sender = RTCRtpSender("video", RTCDtlsTransport(transport, [RTCCertificate.generateCertificate()]))
    return [part for part in PARTS if not part.is_there(sender)]


@functools.cache
def warn_of_missing() -> None:
    """Once in a process."""
    for part in missing():
        log.warning("%s is not where it was: %s", part.name, part.lost)
