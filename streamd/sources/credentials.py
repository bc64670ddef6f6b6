"""Passwords that are not in the configuration, but in the environment or a file.

rtsp://user:env:NAME@host/     rtsp://user:file:/run/secrets/cam@host/     the password
rtsp://env:NAME@host/          rtsp://file:/run/secrets/cam@host/          "user:password"
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import quote

from streamd.errors import SourceRejected

_REFERENCE = re.compile(
    r"(?P<scheme>(?:rtsp|http)s?://)(?:(?P<user>[^:@/]+):)?(?P<kind>env|file):(?P<place>[^@]+)@(?P<rest>.*)", re.DOTALL
)


def resolve(url: str, name: str) -> str:
    """``url`` with its password in it, escaped as FFmpeg wants it; others come back unchanged.

    Read anew each time, so a password may change. ``name`` is for the error. Raises SourceRejected.
    """
    found = _REFERENCE.fullmatch(url)
    if found is None:
        return url
    read = _from_environment if found["kind"] == "env" else _from_file
    secret = read(found["place"], name)
    if found["user"] is None:
        user, colon, password = secret.partition(b":")
        login = _escaped(user) + colon.decode() + _escaped(password)
    else:
        login = f"{found['user']}:{_escaped(secret)}"
    return f"{found['scheme']}{login}@{found['rest']}"


def _from_environment(variable: str, name: str) -> bytes:
    value = os.environ.get(variable)
    if not value:
        raise SourceRejected(name, f"the environment variable {variable} with its password is not set")
    return os.fsencode(value)


def _from_file(place: str, name: str) -> bytes:
    """The first line. systemd's LoadCredential= puts files into $CREDENTIALS_DIRECTORY."""
    path = Path(os.environ.get("CREDENTIALS_DIRECTORY", ""), place)
    try:
        with path.open("rb") as file:
            line = file.readline(4096).rstrip(b"\r\n")
    except OSError as error:
        raise SourceRejected(name, f"cannot read its password from {path}: {error.strerror}") from None
    if not line:
        raise SourceRejected(name, f"there is no password in {path}")
    return line


def _escaped(secret: bytes) -> str:
    """Only what would end the login early: FFmpeg has room for 127 characters of it in RTSP."""
    return quote(secret, safe="!$&'()*+,;=")
