"""Passwords out of everything that people or programs may read."""

from __future__ import annotations

import re

# The second form is for a password that should have been escaped: user:pa/ss@host. Digits alone are a port.
_CREDENTIALS = re.compile(
    r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]*://)(?:[^/?#\s'\"]*@|[^/?#\s'\"@:\[]*:(?!\d+[/?#])[^\s'\"]*@)"
)
# A TURN server has its password elsewhere, but people write it so: turn:user:password@host.
_ICE_CREDENTIALS = re.compile(r"(?P<scheme>(?<![A-Za-z])(?i:stuns?|turns?):)[^\s'\"]*@")
# Cameras take secrets in the path too: /user=admin_password=secret_channel=1.
_QUERY_SECRETS = re.compile(
    r"(?i)(?P<key>[?&;/_](?:[a-z_-]*(?:pass?|pwd?|pw|token|key|secret|auth|sig)[a-z0-9_-]*))=[^&;#\s'\"]*"
)


def redact_source(source: str) -> str:
    """A whole URL: all between ``://`` and the last ``@`` goes, whatever characters a password has."""
    scheme, separator, rest = source.partition("://")
    if separator and "@" in rest:
        rest = "***@" + rest.rpartition("@")[2]
    return redact(scheme + separator + rest)


def redact(text: str) -> str:
    """``rtsp://user:pw@host/x?token=t`` to ``rtsp://***@host/x?token=***``, anywhere in a text.

    FFmpeg's own messages carry the URL with its password, so messages go through here too.
    """
    for pattern in (_CREDENTIALS, _ICE_CREDENTIALS):
        text = pattern.sub(r"\g<scheme>***@", text)
    return _QUERY_SECRETS.sub(r"\g<key>=***", text)
