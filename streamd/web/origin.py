"""Which page a request comes from, by the headers of browsers and proxies."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from streamd.config.listen import is_loopback

DEFAULT_PORTS = {"http": 80, "https": 443}
FORWARDED = ("Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP")
"""What proxies add, RFC 7239 and before. One that adds nothing looks like a local client."""


def is_foreign(headers: Mapping[str, str]) -> bool:
    """Whether a page of another origin sent it. What no browser sent is not foreign.

    ``Sec-Fetch-Site`` is right behind proxies that rewrite Host too, but browsers send it over
    HTTPS and to this machine only; else Origin is compared with Host. The scheme is left out: a
    proxy that ends TLS speaks plain HTTP to us.
    """
    site = headers.get("Sec-Fetch-Site")
    if site is not None:
        return site not in ("same-origin", "none")
    origin = headers.get("Origin")
    if origin is None:
        return False
    theirs, ours = _split(origin), _split(f"//{headers.get('Host', '')}")
    if theirs is None or ours is None:
        return True
    ports = [port or DEFAULT_PORTS.get(urlsplit(origin).scheme) for port in (theirs[1], ours[1])]
    return theirs[0] != ours[0] or ports[0] != ports[1]


def is_link(headers: Mapping[str, str]) -> bool:
    """Whether it is a top-level navigation: a link or a typed address, neither a frame nor a prefetch."""
    is_page = headers.get("Sec-Fetch-Mode") == "navigate" and headers.get("Sec-Fetch-Dest") == "document"
    return is_page and "Sec-Purpose" not in headers


def is_forwarded(headers: Mapping[str, str]) -> bool:
    """Whether it came through a proxy, by the proxy's headers."""
    return any(name in headers for name in FORWARDED)


def is_of_this_machine(url: str) -> bool:
    """Whether an Origin, or a Host with // before it, is a loopback name: localhost, 127.0.0.1, [::1]."""
    parts = _split(url)
    return parts is not None and (is_loopback(parts[0]) or parts[0].endswith(".localhost"))


def _split(url: str) -> tuple[str, int | None] | None:
    """(host, port); None for what is no address, such as Origin: null."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    return (host.rstrip("."), port) if host else None
