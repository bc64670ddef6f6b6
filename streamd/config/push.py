"""Where a stream is pushed to: ``push`` of a stream.

rtsp://user:password@host:8554/path    an RTSP server that takes ANNOUNCE and RECORD; rtsps:// by TLS
whip://token@host/path                 a WHIP endpoint (RFC 9725); whips:// by TLS, as https://

``#view=NAME`` at the end names another view than depth. The password, or the token, may be env:NAME or file:PATH.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal
from urllib.parse import unquote

from streamd.config.address import SourceAddress
from streamd.config.redact import HIDDEN, redact_source
from streamd.config.secret import read_secret

PushKind = Literal["rtsp", "whip"]
MAX_TARGETS = 8
"""Of a stream."""
VIEW = "view="
_SCHEMES = {"rtsp": "rtsp", "rtsps": "rtsps", "whip": "http", "whips": "https"}


@dataclass(frozen=True, slots=True)
class PushTarget:
    """The parts of one. Holds a secret: never log it."""

    kind: PushKind
    address: SourceAddress
    """Of WHIP with the scheme http or https."""
    view: str

    @classmethod
    def parse(cls, text: str) -> PushTarget:
        """Raises ValueError with the reason, which holds nothing of it. Whether there is such a view is not looked
        at."""
        scheme, separator, rest = text.partition("://")
        known = _SCHEMES.get(scheme.lower())
        if not separator or known is None:
            raise ValueError("has one that is not rtsp://, rtsps://, whip:// or whips://")
        if not text.isascii() or not text.isprintable():
            raise ValueError("has one with a character that is not plain ASCII: escape it as in %C3%A9")
        try:
            address = SourceAddress.parse(f"{known}://{rest}")
        except ValueError as error:
            raise ValueError(f"has one that {error}") from None
        path, _, fragment = address.path.partition("#")
        if fragment and not fragment.startswith(VIEW):
            raise ValueError("has one with something else than #view=NAME behind #")
        kind: PushKind = "rtsp" if known.startswith("rtsp") else "whip"
        return cls(kind, replace(address, path=path), fragment.removeprefix(VIEW) or "depth")

    @property
    def tls(self) -> bool:
        return self.address.scheme in ("rtsps", "https")

    @property
    def place(self) -> str:
        """For logs: kind, host and port, and nothing that may be a secret."""
        return f"{self.kind} {self.address.netloc}"

    @property
    def reference(self) -> tuple[str, str] | None:
        """Where the secret is, ``env:NAME`` or ``file:PATH``, and what it is; None: in the address, or there is
        none."""
        login = self.address.login
        if login is None or not login.is_reference:
            return None
        return login.secret or "", "token" if self.kind == "whip" else "password"

    def login(self) -> tuple[str, str] | None:
        """User and password; of WHIP the token is the password. None: there is none. Reads it anew, which may block.
        Raises ValueError."""
        login = self.address.login
        if login is None:
            return None
        if self.reference is None:
            user, secret = unquote(login.user or ""), None if login.secret is None else unquote(login.secret)
        else:
            user, secret = login.user or "", read_secret(*self.reference)
        if self.kind == "whip":
            return user, user if secret is None else secret
        if login.user is None and secret is not None:  # "user:password"
            user, _, secret = secret.partition(":")
        return user, secret or ""


def redact_push(text: str) -> str:
    """Without the login, and of WHIP without the path: at many services who knows it may publish."""
    try:
        target = PushTarget.parse(text)
    except ValueError:
        return HIDDEN
    if target.kind == "rtsp":
        return redact_source(text)
    login = f"{HIDDEN}@" if target.address.login else ""
    return f"whip{'s' * target.tls}://{login}{target.address.netloc}/{HIDDEN}#{VIEW}{target.view}"
