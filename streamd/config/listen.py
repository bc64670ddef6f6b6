"""Addresses to listen on."""

from __future__ import annotations

import ipaddress
from typing import Annotated

from pydantic import AfterValidator


def split_address(listen: str) -> tuple[str, int]:
    """ "HOST:PORT" or "[::1]:PORT" to its parts. Raises ValueError."""
    host, colon, port = listen.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise ValueError("not HOST:PORT, as in 127.0.0.1:8080")
    return host.strip("[]"), int(port)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _may_be_empty(value: str) -> str:
    if value:
        split_address(value)
    return value


MaybeAddress = Annotated[str, AfterValidator(_may_be_empty)]
"""HOST:PORT, or empty: nothing listens."""
