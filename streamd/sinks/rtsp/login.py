"""Who may watch by RTSP: whoever shows one of the tokens, as the password of any user name.

By Digest (RFC 2617), which takes the token itself: one that is configured as its SHA-256 cannot be checked so. Where
there is such a one, clients on this machine are asked by Basic (RFC 7617) instead; others are not, for Basic shows the
token to everybody on the way. MD5 without qop is what all players know.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import math
import re
import secrets
from collections.abc import Callable, Sequence
from typing import Protocol

from streamd.config.listen import is_loopback
from streamd.media.rtsp_messages import Message
from streamd.sinks.rtsp.answers import Refused

REALM = b"streamd"
_FIELD = re.compile(rb'\b(\w+)\s*=\s*(?:"([^"]*)"|([^\s,"]+))')


class Guesses(Protocol):
    """Limits wrong ones, by address."""

    def wait_s(self, address: str | None) -> float:
        """How long until this address may try again; 0: now."""

    def note(self, address: str | None) -> None:
        """Another wrong one."""


class Login:
    """The rule, for all connections."""

    def __init__(self, plain: Sequence[str], knows: Callable[[str], bool], guesses: Guesses, *, hashed: bool) -> None:
        """``plain``: the tokens that are known themselves; ``knows`` tells of any; ``hashed``: of some only a digest
        is known."""
        self._plain = [token.encode("utf-8", "surrogateescape") for token in plain]
        self._knows = knows
        self._guesses = guesses
        self._hashed = hashed

    @staticmethod
    def nonce() -> bytes:
        """One for each connection: what was overheard on another is of no use."""
        return secrets.token_hex(16).encode()

    def check(self, request: Message, method: str, nonce: bytes, address: str) -> None:
        """Raises Refused: 401, or 403 for an address that has shown too many wrong tokens."""
        wait_s = self._guesses.wait_s(address)
        if wait_s > 0:
            raise Refused(403, ("Retry-After", b"%d" % math.ceil(wait_s)))
        here = is_loopback(address)
        kind, _, credentials = request.get("Authorization").strip().partition(b" ")
        if kind.lower() == b"digest":
            fields = {key.lower(): quoted or bare for key, quoted, bare in _FIELD.findall(credentials)}
            if fields.get(b"nonce") != nonce:  # of a connection before
                raise Refused(401, *self._challenges(nonce, here, stale=True))
            right = self._is_digest_of_one(fields, method.encode())
        elif kind.lower() == b"basic" and here:
            right = self._knows(_password(credentials))
        else:
            raise Refused(401, *self._challenges(nonce, here))
        if not right:
            self._guesses.note(address)
            raise Refused(401, *self._challenges(nonce, here))

    def _challenges(self, nonce: bytes, here: bool, *, stale: bool = False) -> list[tuple[str, bytes]]:
        if here and self._hashed:
            return [("WWW-Authenticate", b'Basic realm="%b"' % REALM)]
        digest = b'Digest realm="%b", nonce="%b"' % (REALM, nonce) + (b", stale=true" if stale else b"")
        return [("WWW-Authenticate", digest)]

    def _is_digest_of_one(self, fields: dict[bytes, bytes], method: bytes) -> bool:
        user, uri, shown = (fields.get(key, b"") for key in (b"username", b"uri", b"response"))
        middle = [fields[b"nonce"]]
        if b"qop" in fields:
            middle += [fields.get(key, b"") for key in (b"nc", b"cnonce", b"qop")]
        asked = _md5(method, uri)
        found = False
        for token in self._plain:  # all of them: takes the same time for each
            right = _md5(_md5(user, REALM, token), *middle, asked)
            found |= hmac.compare_digest(right, shown.lower())
        return found


def _md5(*parts: bytes) -> bytes:
    return hashlib.md5(b":".join(parts), usedforsecurity=False).hexdigest().encode()


def _password(credentials: bytes) -> str:
    try:
        pair = base64.b64decode(credentials.strip(), validate=True)
    except binascii.Error:
        return ""
    return pair.partition(b":")[2].decode("utf-8", "surrogateescape")
