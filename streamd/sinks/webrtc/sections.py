"""What the media sections of an SDP offer ask for, in words that its sender can do something with (RFC 8866, 9429)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from streamd.errors import OfferRejected

SENDS = "streamd sends H.264 Constrained Baseline (packetization-mode 1) and VP8"

_DIRECTIONS = {"a=sendrecv", "a=sendonly", "a=recvonly", "a=inactive"}
_KINDS = {"audio", "video", "application"}
_HELPERS = {"rtx", "red", "ulpfec", "flexfec-03"}
"""No codecs: they repeat or repair what a codec sends."""
_MAX_NAMED = 8
_MAX_SHOWN = 80
_PROFILES = {
    0x42: "Baseline",
    0x4D: "Main",
    0x58: "Extended",
    0x64: "High",
    0x6E: "High 10",
    0x7A: "High 4:2:2",
    0xF4: "High 4:4:4 Predictive",
}


@dataclass
class Section:
    media: str
    """Its ``m=`` line."""
    lines: list[str] = field(default_factory=list)

    @property
    def kind(self) -> str:
        return self.media.removeprefix("m=").partition(" ")[0]

    @property
    def is_for_us(self) -> bool:
        """Whether it wants to receive video. Port 0 says that it is not used, but for a bundled section."""
        used = self.media.split()[1:2] != ["0"] or "a=bundle-only" in self.lines
        return self.kind == "video" and used and _direction(self) in ("a=sendrecv", "a=recvonly")

    def is_astray(self, line: str) -> bool:
        """Parameters of a codec that is not there, which browsers leave alone."""
        payload = line.removeprefix("a=fmtp:").partition(" ")[0]
        return line.startswith("a=fmtp:") and payload not in dict(self._values("a=rtpmap:"))

    def codecs(self) -> Iterator[str]:
        """As people call them, in the order of preference."""
        names = dict(self._values("a=rtpmap:"))
        parameters = dict(self._values("a=fmtp:"))
        for payload in self.media.split()[3:]:
            name = names.get(payload, "").partition("/")[0]
            if name and name.lower() not in _HELPERS:
                yield _h264(parameters.get(payload, "")) if name.lower() == "h264" else shown(name)

    def _values(self, prefix: str) -> Iterator[tuple[str, str]]:
        for line in self.lines:
            if line.startswith(prefix):
                payload, _, value = line.removeprefix(prefix).partition(" ")
                yield payload, value


def checked(lines: list[str]) -> list[str]:
    """The lines of an offer that wants video, with what RFC 8866 leaves to be understood and aiortc wants to be told:
    the direction of each section. Raises OfferRejected."""
    if not lines or not lines[0].startswith("v=0"):
        raise OfferRejected("bad_offer", "not an SDP offer: it does not begin with v=0")
    session, *sections = _split(lines)
    direction = _direction(session) or "a=sendrecv"
    for section in sections:
        if section.kind not in _KINDS:
            raise OfferRejected(
                "bad_offer", f"a section is of audio, video or application, not: {shown(section.media)}"
            )
        if section.kind != "application" and not _direction(section):
            section.lines.append(direction)
        section.lines = [line for line in section.lines if not section.is_astray(line)]
    if not any(section.is_for_us for section in sections):
        raise OfferRejected("bad_offer", "the offer has no video section that wants to receive")
    return [*session.lines, *(line for section in sections for line in (section.media, *section.lines))]


def no_codec(lines: list[str]) -> OfferRejected:
    """Of an offer without a codec that streamd sends: names those that it has."""
    wanted = (section for section in _split(lines)[1:] if section.is_for_us)
    offered = list(dict.fromkeys(codec for section in wanted for codec in section.codecs()))
    more = [f"{len(offered) - _MAX_NAMED} more"] if len(offered) > _MAX_NAMED else []
    listed = ", ".join([*offered[:_MAX_NAMED], *more]) or "none"
    return OfferRejected("no_codec", f"no codec in common: the offer has {listed}; {SENDS}")


def shown(text: str) -> str:
    """What a stranger sends is bounded where it is repeated."""
    return re.sub(r"[^ -~]", "?", text[:_MAX_SHOWN])


def _split(lines: list[str]) -> list[Section]:
    """That of the session first."""
    sections = [Section("")]
    for line in lines:
        if line.startswith("m="):
            sections.append(Section(line))
        else:
            sections[-1].lines.append(line)
    return sections


def _direction(section: Section) -> str | None:
    return next((line for line in section.lines if line in _DIRECTIONS), None)


def _h264(parameters: str) -> str:
    """With the profile (RFC 6184, 8.1: without one, Baseline at level 1)."""
    found = {key.strip().lower(): value.strip() for key, _, value in (p.partition("=") for p in parameters.split(";"))}
    level = found.get("profile-level-id", "42000a")
    mode = found.get("packetization-mode", "0")
    return f"H.264{_profile(level)} ({shown(level)}, packetization-mode {shown(mode)})"


def _profile(level: str) -> str:
    if not re.fullmatch("[0-9a-fA-F]{6}", level):
        return ""
    profile, constraints = int(level[:2], 16), int(level[2:4], 16)
    name = _PROFILES.get(profile, "")
    if (profile == 0x42 and constraints & 0x40) or (profile == 0x4D and constraints & 0x80):
        name = "Constrained Baseline"
    if profile == 0x64 and constraints & 0x0C == 0x0C:
        name = "Constrained High"
    return f" {name}" if name else ""
