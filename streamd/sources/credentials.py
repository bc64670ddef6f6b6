"""Passwords that are not in the configuration, but in the environment or a file.

rtsp://user:env:NAME@host/     rtsp://user:file:/run/secrets/cam@host/     the password
rtsp://env:NAME@host/          rtsp://file:/run/secrets/cam@host/          "user:password"
"""

from __future__ import annotations

import os
import re
from urllib.parse import quote

from streamd.config.secret import read_secret
from streamd.errors import SourceRejected

LONGEST_RTSP_LOGIN = 127
"""FFmpeg's RTSP cuts off what is longer, without a word."""
_REFERENCE = re.compile(
    r"(?P<scheme>(?:rtsp|http)s?://)(?:(?P<user>[^:@/]+):)?(?P<place>(?:env|file):[^@]+)@(?P<rest>.*)", re.DOTALL
)


def resolve(url: str, name: str) -> str:
    """``url`` with its password in it, escaped as FFmpeg wants it; others come back unchanged.

    Read anew each time, so a password may change. ``name`` is for the error. Raises SourceRejected.
    """
    found = _REFERENCE.fullmatch(url)
    if found is None:
        return url
    try:
        secret = read_secret(found["place"], "password")
    except ValueError as error:
        raise SourceRejected(name, str(error)) from None
    if found["user"] is None:
        user, colon, password = secret.partition(":")
        login = _escaped(user) + colon + _escaped(password)
    else:
        login = f"{found['user']}:{_escaped(secret)}"
    if found["scheme"].startswith("rtsp") and len(login) > LONGEST_RTSP_LOGIN:
        raise SourceRejected(name, f"its login is longer than the {LONGEST_RTSP_LOGIN} characters that FFmpeg takes")
    return f"{found['scheme']}{login}@{found['rest']}"


def _escaped(secret: str) -> str:
    """Only what would end the login early: there is little room, see LONGEST_RTSP_LOGIN."""
    return quote(os.fsencode(secret), safe="!$&'()*+,;=")
