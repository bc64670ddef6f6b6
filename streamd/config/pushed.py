"""What may be in the address of live video that FFmpeg itself fetches or listens for."""

from __future__ import annotations

import ipaddress
from urllib.parse import parse_qsl

from streamd.config.address import SourceAddress, SourceKind

_ADDRESSES = ("localaddr", "sources", "block")
_MOST = {"reuse": 1, "overrun_nonfatal": 1, "pkt_size": 65536, "buffer_size": 1 << 26, "fifo_size": (1 << 26) // 188}
"""Of numbers. ``fifo_size`` counts packets of MPEG-TS, 188 bytes each."""


def check_pushed(address: SourceAddress) -> None:
    """Raises ValueError with the reason."""
    if address.kind is SourceKind.RTMP and address.host in ("0.0.0.0", "::"):
        raise ValueError("streamd fetches RTMP from a server; it does not listen for it")
    if address.kind is SourceKind.UDP:
        for name, value in parse_qsl(address.path.partition("?")[2], keep_blank_values=True):
            _check_option(name, value)


def _check_option(name: str, value: str) -> None:
    if name == "timeout":
        raise ValueError("has the option timeout: read_timeout_s is what does that")
    if name in _ADDRESSES:
        if not all(map(_is_ip, value.split(","))):
            raise ValueError(f"has an option {name} that is not an IP address")
    elif name not in _MOST:
        raise ValueError(f"has an option that udp:// does not know; there are: {' '.join([*_ADDRESSES, *_MOST])}")
    elif not (value.isascii() and value.isdecimal() and len(value) < 10 and int(value) <= _MOST[name]):
        raise ValueError(f"has an option {name} that is not a number up to {_MOST[name]}")


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
