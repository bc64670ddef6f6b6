"""Tokens, the sessions that stand for them in browsers, and a limit on wrong guesses.

Nothing here knows HTTP. Of tokens and session ids only digests stay in memory.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from enum import IntEnum

from streamd.web.address import client_network

SESSION_S = 7 * 24 * 3600.0
"""A session ends when it was not used for this long."""
MAX_SESSIONS = 1000
FAILURES = 10
"""An address may guess this often at once, and then once every ``FAILURE_S``."""
FAILURE_S = 6.0
MAX_ADDRESSES = 4096


class Scope(IntEnum):
    """Each includes those before it."""

    OPEN = 0
    VIEW = 1
    CONTROL = 2


class Tokens:
    """The configured ones. One that is in both lists may control."""

    def __init__(self, view: Iterable[str] = (), control: Iterable[str] = ()) -> None:
        self._known = [(_known(token), Scope.VIEW) for token in view]
        self._known += [(_known(token), Scope.CONTROL) for token in control]

    @property
    def configured(self) -> bool:
        return bool(self._known)

    def scope(self, token: str) -> Scope | None:
        """None for one that is not known. Takes the same time for each."""
        digest = _digest(token)
        found = [scope for known, scope in self._known if hmac.compare_digest(known, digest)]
        return max(found, default=None)


def _known(token: str) -> bytes:
    """The digest of a configured one, which may be given as that: ``sha256:HEX`` does not give the token away."""
    return bytes.fromhex(token.removeprefix("sha256:")) if is_digest(token) else _digest(token)


def is_digest(token: str) -> bool:
    """Whether it is ``sha256:HEX`` of one."""
    return token.startswith("sha256:") and len(token) == len("sha256:") + 64


class Sessions:
    """Random ids that stand for a token, held by browsers as a cookie. Bounded: the one that was
    not used for longest goes first."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._sessions: OrderedDict[bytes, tuple[Scope, float]] = OrderedDict()
        """By the digest of the id, the last used at the end: its scope, and when it was used."""

    def __len__(self) -> int:
        return len(self._sessions)

    def open(self, scope: Scope) -> str:
        id = secrets.token_urlsafe(32)
        self._sessions[_digest(id)] = (scope, self._clock())
        while len(self._sessions) > MAX_SESSIONS:
            self._sessions.popitem(last=False)
        return id

    def scope(self, id: str) -> Scope | None:
        """None when it has expired, or never was."""
        digest, now = _digest(id), self._clock()
        scope, used = self._sessions.pop(digest, (Scope.OPEN, now - SESSION_S))
        if now - used >= SESSION_S:
            return None
        self._sessions[digest] = (scope, now)
        return scope

    def close(self, id: str) -> None:
        """Safe to repeat."""
        self._sessions.pop(_digest(id), None)


class Failures:
    """A bucket of wrong guesses for each address; a network of IPv6 (/64) counts as one.

    While a bucket is full that address is refused even with a right token: else it could go on guessing.
    Others are not concerned. Bounded: the address that has been quiet for longest goes first.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._full_until: OrderedDict[str, float] = OrderedDict()
        """When the bucket of an address will be empty again."""

    def __len__(self) -> int:
        return len(self._full_until)

    def wait_s(self, address: str | None) -> float:
        """How long until this address may try again; 0: now."""
        over_s = self._full_until.get(client_network(address), 0.0) - self._clock() - (FAILURES - 1) * FAILURE_S
        return max(0.0, over_s)

    def note(self, address: str | None) -> None:
        """Another wrong guess."""
        key, now = client_network(address), self._clock()
        self._full_until[key] = max(self._full_until.pop(key, now), now) + FAILURE_S
        while len(self._full_until) > MAX_ADDRESSES:
            self._full_until.popitem(last=False)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
