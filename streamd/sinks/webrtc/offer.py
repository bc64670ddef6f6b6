"""What a viewer sends, before aiortc's parser sees it: bounded, and without what could harm.

aiortc reads SDP in time that grows with the square of the number of its lines, on the event loop (64 KB of
``a=rtcp-fb`` took 180 ms), and aioice sends to whatever address a candidate names. Chromium's offers have about 150
lines in a section of video.
"""

from __future__ import annotations

import ipaddress
from collections import Counter

from aiortc.exceptions import InvalidStateError
from aiortc.rtcicetransport import RTCIceCandidate
from aiortc.sdp import SessionDescription, candidate_from_sdp

from streamd.errors import OfferRejected
from streamd.sinks.webrtc.sections import checked, no_codec, shown

MAX_LINES = 1200
MAX_LINES_OF_A_KIND = 160
"""In one section: ``a=rtpmap``, ``a=ssrc``, ..."""
MAX_SECTIONS = 8
MAX_CANDIDATES = 32
"""Of one viewer, with those that it sends later."""

# What aiortc's parser and negotiation raise on SDP that is not what it should be (fuzzed).
MALFORMED = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    InvalidStateError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
)


_INCOMPLETE = (
    "a section lacks a=mid, a=ice-ufrag, a=ice-pwd, a=setup or a=rtcp-mux, "
    "or a=group:BUNDLE names one that is not there"
)


class Offer:
    """A viewer's SDP. ``sdp`` is what is left of it."""

    def __init__(self, sdp: str) -> None:
        """Raises OfferRejected."""
        self._candidates = 0
        lines = sdp.splitlines()
        _check_size(lines)
        kept = [line for line in checked(lines) if self._is_wanted(line)]
        if not any(line.startswith("a=fingerprint:") for line in kept):
            raise OfferRejected("bad_offer", "no a=fingerprint: streamd sends encrypted media only")
        self._fragments = {line for line in kept if line.startswith("a=ice-ufrag:")}
        self._lines = kept
        self.sdp = "\r\n".join(kept) + "\r\n"

    def unusable(self) -> OfferRejected:
        """For what aiortc could not make anything of: names the line that it cannot read, if it is a line."""
        line = _unreadable(self._lines)
        reason = _INCOMPLETE if line is None else f"this line cannot be read: {shown(line)}"
        return OfferRejected("bad_offer", f"not a usable SDP offer: {reason}")

    def no_codec(self) -> OfferRejected:
        """For an offer without a codec that streamd sends."""
        return no_codec(self._lines)

    def candidates(self, fragment: str) -> list[RTCIceCandidate]:
        """Of a ``trickle-ice-sdpfrag``. Raises OfferRejected."""
        section, found = None, []
        for line in fragment.splitlines():
            if line.startswith("a=ice-ufrag:") and line not in self._fragments:
                raise OfferRejected("no_ice_restart", "ICE restart is not supported: post a new offer")
            if line.startswith("a=mid:"):
                section = line.removeprefix("a=mid:")
            elif line.startswith("a=candidate:") and self._is_wanted(line):
                try:
                    candidate = candidate_from_sdp(line.removeprefix("a=candidate:"))
                except MALFORMED as error:
                    raise OfferRejected("bad_offer", f"not a candidate: {shown(line)}") from error
                candidate.sdpMid, candidate.sdpMLineIndex = section, 0 if section is None else None
                found.append(candidate)
        return found

    def _is_wanted(self, line: str) -> bool:
        """Whether aiortc gets to see this line.

        Not the end of candidates, after which aioice gives up on viewers that sent none of use; no more candidates
        than an honest viewer has, and none that is no address: a ``.local`` name costs 1 s to look up in vain (the
        viewer's own checks show its address).
        """
        if line.startswith("a=end-of-candidates"):
            return False
        if not line.startswith("a=candidate:"):
            return True
        if not _is_usable(line.lower().split()):
            return False
        self._candidates += 1
        return self._candidates <= MAX_CANDIDATES


def _is_usable(words: list[str]) -> bool:
    """Whether aioice can send to this candidate. A line that is cut off passes: the parser rejects it."""
    if len(words) <= 5:
        return True
    component, protocol, address, port = words[1], words[2], words[4], words[5]
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return False
    # A port out of range closes the socket that is to send to it (asyncio), which may be everybody's.
    is_port = port.isascii() and port.isdecimal() and len(port) < 6 and 0 < int(port) < 65536
    return (
        (component, protocol) == ("1", "udp")
        and is_port
        and not (ip.is_multicast or ip.is_unspecified or "%" in address)
    )


def _unreadable(lines: list[str]) -> str | None:
    """The first line that aiortc's parser does not take, each tried by itself."""
    section = ""
    for line in lines:
        section = line if line.startswith("m=") else section
        payload = line.removeprefix("a=fmtp:").partition(" ")[0]
        codec = f"a=rtpmap:{payload} x/1" if line.startswith("a=fmtp:") else ""
        try:
            SessionDescription.parse("\r\n".join((section, codec, line)))
        except MALFORMED:
            return line
    return None


def _check_size(lines: list[str]) -> None:
    """Candidates do not count: they are dropped when they are too many."""
    lines = [line for line in lines if not line.startswith(("a=candidate:", "a=end-of-candidates"))]
    if len(lines) > MAX_LINES:
        raise OfferRejected("bad_offer", f"more than {MAX_LINES} lines")
    if sum(line.startswith("m=") for line in lines) > MAX_SECTIONS:
        raise OfferRejected("bad_offer", f"more than {MAX_SECTIONS} media sections")
    counts: Counter[str] = Counter()
    for line in lines:
        if line.startswith("m="):
            counts.clear()
        kind = line.partition(":")[0]
        counts[kind] += 1
        if counts[kind] > MAX_LINES_OF_A_KIND:
            raise OfferRejected("bad_offer", f"more than {MAX_LINES_OF_A_KIND} lines of {kind[:40]} in one section")
