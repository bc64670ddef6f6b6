"""Passwords that are not in the configuration, but in the environment or a file.

rtsp://user:env:NAME@host/     rtsp://user:file:/run/secrets/cam@host/     the password
rtsp://env:NAME@host/          rtsp://file:/run/secrets/cam@host/          "user:password"
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from urllib.parse import quote, unquote_to_bytes

from streamd.config.address import Login, SourceAddress
from streamd.config.secret import read_secret
from streamd.errors import SourceRejected

_SAFE = "!$&'()*+,;="
"""Not escaped."""


@dataclass(frozen=True)
class Credentials:
    """User and password, escaped for a URL. Holds a secret: never log it."""

    user: str
    password: str | None

    def __repr__(self) -> str:
        return "Credentials(***)"

    @property
    def escaped(self) -> str:
        return self.user if self.password is None else f"{self.user}:{self.password}"

    @property
    def plain(self) -> tuple[str, str]:
        """User and password as they are; bytes that are no UTF-8 as surrogates."""
        return os.fsdecode(unquote_to_bytes(self.user)), os.fsdecode(unquote_to_bytes(self.password or ""))


def credentials(address: SourceAddress, name: str) -> Credentials | None:
    """Those of the address; None when there are none.

    Read anew each time, so a password may change. ``name`` is for the error. Raises SourceRejected.
    """
    if address.login is None:
        return None
    return _read(address.login, name)


def _read(login: Login, name: str) -> Credentials:
    if not login.is_reference:  # what is escaped already stays so
        password = None if login.secret is None else quote(login.secret, safe=f"%{_SAFE}")
        return Credentials(quote(login.user or "", safe=f"%{_SAFE}"), password)
    try:
        secret = read_secret(login.secret or "", "password")
    except ValueError as error:
        raise SourceRejected(name, str(error)) from None
    if login.user is not None:
        return Credentials(quote(login.user, safe=f"%{_SAFE}"), _escaped(secret))
    user, colon, password = secret.partition(":")
    return Credentials(_escaped(user), _escaped(password) if colon else None)


def _escaped(secret: str) -> str:
    return quote(os.fsencode(secret), safe=_SAFE)
