"""The parser of ``source =``: the only one, for the check of a configuration, the API, the sources and the doctor."""

from __future__ import annotations

import ipaddress
import os
import re
import stat
from dataclasses import dataclass
from enum import StrEnum


class SourceKind(StrEnum):
    RTSP = "rtsp"
    HTTP = "http"
    RTMP = "rtmp"
    SRT = "srt"
    UDP = "udp"
    WEBCAM = "webcam"
    DEMO = "demo"
    LAVFI = "lavfi"
    FILE = "file"


@dataclass(frozen=True)
class _Scheme:
    kind: SourceKind
    port: int | None
    """None: there is no usual one."""


_SCHEMES = {
    "rtsp": _Scheme(SourceKind.RTSP, 554),
    "rtsps": _Scheme(SourceKind.RTSP, 322),
    "http": _Scheme(SourceKind.HTTP, 80),
    "https": _Scheme(SourceKind.HTTP, 443),
    "rtmp": _Scheme(SourceKind.RTMP, 1935),
    "srt": _Scheme(SourceKind.SRT, None),
    "udp": _Scheme(SourceKind.UDP, None),
}
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_HALF_URL = re.compile(rf"({'|'.join(_SCHEMES)}):(?!//)", re.IGNORECASE)
_PREFIXES = {"v4l2:": SourceKind.WEBCAM, "lavfi:": SourceKind.LAVFI, "file:": SourceKind.FILE}
_NO_DEVICE = re.compile(r"/dev/(shm|mqueue|hugepages|fd)/|/dev/std(in|out|err)$")
_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]*[A-Za-z0-9_])?")
_REFERENCE = ("env:", "file:")
MAX_LABEL, MAX_HOST = 63, 253  # RFC 1035, 2.3.4
MAX_PATH = 4096
_SHOWN = 24
"""Characters of an unknown scheme, or of a host, that a reason shows."""


@dataclass(frozen=True)
class Login:
    """What is before the ``@``, as it is written."""

    user: str | None
    """None: the secret is "user:password"."""
    secret: str | None
    """The password, or where it is: ``env:NAME`` or ``file:PATH``. None: there is none."""
    is_reference: bool = False


@dataclass(frozen=True)
class SourceAddress:
    kind: SourceKind
    path: str
    """Of a URL: path and query. Of the others: the device, the file or the filter graph."""
    scheme: str = ""
    """Of a URL, in small letters."""
    login: Login | None = None
    host: str = ""
    """A name, or an address without brackets; empty: any, of ``udp://:5000``."""
    port: int = 0

    @property
    def netloc(self) -> str:
        """HOST:PORT."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def url(self, login: str = "") -> str:
        """As FFmpeg wants it; ``login`` is escaped."""
        before = f"{login}@" if login or self.kind is SourceKind.UDP else ""  # udp://@... binds
        return f"{self.scheme}://{before}{self.netloc}{self.path}"

    @classmethod
    def parse(cls, source: str) -> SourceAddress:
        """Raises ValueError with the reason in one line, without secrets.

        Letters and ``://`` make a URL, whose scheme must be known; ``/dev/``, ``v4l2:``, ``lavfi:``, ``file:`` and
        ``demo:`` name those kinds; all else is a file, with a colon in its name too, unless a URL's scheme precedes it.
        Looks at nothing outside /dev.
        """
        if not source:
            raise ValueError("must not be empty")
        if "\0" in source:
            raise ValueError("has a zero byte in it")
        lower = source[:6].lower()
        if lower == "demo:" and len(source) == 5:
            return cls(SourceKind.DEMO, "")
        for prefix, kind in _PREFIXES.items():
            if lower.startswith(prefix):
                return cls(kind, _not_empty(source[len(prefix) :], prefix))
        if _URL.match(source):
            return _parse_url(source)
        if half := _HALF_URL.match(source):
            scheme = half[1].lower()
            raise ValueError(f"needs // after {scheme}: to be a URL; a file of that name is written file:{scheme}:...")
        return cls(SourceKind.WEBCAM if _is_device(source) else SourceKind.FILE, source)


def as_it_is(source: str) -> str:
    """What is there is meant, whatever its name looks like: the file ``rtsp:x`` before an address, a camera behind a
    link. For those who may name any file, since it looks at the disk. All else is returned as it is."""
    try:
        mode = os.stat(source).st_mode
    except (OSError, ValueError):
        return source
    if not stat.S_ISCHR(mode) or _NO_DEVICE.match(source):
        return as_file(source)
    return source if source.startswith("/dev/") else f"v4l2:{source}"


def as_file(path: str) -> str:
    """As a source: with ``./`` where its name looks like something else."""
    try:
        address = SourceAddress.parse(path)
    except ValueError:
        is_plain = False
    else:
        is_plain = address.kind is SourceKind.FILE and address.path == path
    return path if is_plain or path.startswith("/") else f"./{path}"


def is_odd_path(source: object) -> bool:
    """Whether it names a file by bytes that are no UTF-8 (PEP 383)."""
    if not isinstance(source, str) or source.isascii() or len(source) > MAX_PATH:
        return False
    try:
        source.encode()
    except UnicodeEncodeError:
        pass
    else:
        return False
    try:
        return bool(os.fsencode(source)) and SourceAddress.parse(source).kind is SourceKind.FILE
    except ValueError:
        return False


def _is_device(path: str) -> bool:
    """Below /dev a name is a camera's, which may be unplugged, unless a file or a pipe is there."""
    if not path.startswith("/dev/") or _NO_DEVICE.match(path):
        return False
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return True
    return not (stat.S_ISREG(mode) or stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode))


def _not_empty(rest: str, prefix: str) -> str:
    if not rest:
        raise ValueError(f"has nothing after {prefix}")
    return rest


def _parse_url(source: str) -> SourceAddress:
    scheme, _, rest = source.partition("://")
    scheme = scheme.lower()
    known = _SCHEMES.get(scheme)
    if known is None:
        names = " ".join(f"{name}://" for name in _SCHEMES)
        raise ValueError(f"{scheme[:_SHOWN]}:// is no kind of source; there are: {names}, or a file")
    if any(character.isspace() or not character.isprintable() for character in source):
        raise ValueError("has a space or a control character in it; a space is written %20")
    text, authority, path = _split(rest)
    host, port = _host_and_port(authority, known, has_at="@" in path)
    if not host and known.kind is not SourceKind.UDP:
        raise ValueError("has no host")
    return SourceAddress(known.kind, path, scheme, _login(text), host, port)


def _split(rest: str) -> tuple[str, str, str]:
    """Login, authority and path of what follows ``://``.

    A login ends at the last ``@`` before the path. Where that leaves no host and port, ``/ ? #`` are part of a
    password that should have been escaped, or of a ``file:`` reference.
    """
    authority, path = _split_path(rest)
    if "@" in authority:
        login, _, authority = authority.rpartition("@")
        return login, authority, path
    if "@" in path and (_is_reference(rest) or _is_password(authority)):
        login, _, after = rest.partition("@") if _is_reference(rest) else rest.rpartition("@")
        return login, *_split_path(after)
    return "", authority, path


def _split_path(text: str) -> tuple[str, str]:
    end = re.search(r"[/?#]|\Z", text)
    assert end is not None
    return text[: end.start()], text[end.start() :]


def _is_reference(rest: str) -> bool:
    user, _, secret = rest.partition(":")
    return rest.startswith(_REFERENCE) or (secret.startswith(_REFERENCE) and "/" not in user)


def _is_password(authority: str) -> bool:
    """Whether what follows the colon of ``host:port`` cannot be a port."""
    after = authority.partition("]")[2] if authority.startswith("[") else authority
    _, colon, port = after.partition(":")
    return bool(colon) and not (port.isascii() and port.isdecimal())


def _login(text: str) -> Login | None:
    if not text:
        return None
    if text.startswith(_REFERENCE):
        return Login(None, text, is_reference=True)
    user, colon, secret = text.partition(":")
    return Login(user, secret if colon else None, is_reference=secret.startswith(_REFERENCE))


def _host_and_port(authority: str, scheme: _Scheme, *, has_at: bool) -> tuple[str, int]:
    if authority.startswith("["):
        host, bracket, rest = authority[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")) or not _is_ipv6(host):
            raise ValueError("has no IPv6 address in its brackets, as in [2001:db8::1]")
        port = rest[1:]
    else:
        host, _, port = authority.partition(":")
        _check_name(host)
    if not port and scheme.port is not None:
        return host, scheme.port
    if not (port.isascii() and port.isdecimal() and len(port) <= 5 and 1 <= int(port) <= 65535):
        hint = "; a password has / as %2F, ? as %3F, # as %23" if has_at and port else ""
        raise ValueError(f"has no port from 1 to 65535 after its host{hint}")
    return host, int(port)


def _is_ipv6(host: str) -> bool:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return True


def _check_name(host: str) -> None:
    """A name as the resolver takes it, or an IPv4 address."""
    name = host
    if not host.isascii():
        try:
            name = host.encode("idna").decode()
        except UnicodeError:
            raise ValueError("has no host name that can be looked up") from None
    labels = name.removesuffix(".").split(".")
    if not host:
        return
    if len(name) > MAX_HOST or any(len(label) > MAX_LABEL for label in labels):
        raise ValueError(f"has a host name that is too long: {MAX_LABEL} characters between dots, {MAX_HOST} in all")
    if not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("has a host that is neither a name nor an address")
