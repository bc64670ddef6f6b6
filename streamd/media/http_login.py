"""Basic and Digest (RFC 7617, RFC 7616): what a camera asks for, and what to answer."""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol
from urllib.request import parse_http_list


class _Hash(Protocol):
    def hexdigest(self) -> str: ...


_HASHES: dict[str, Callable[[bytes], _Hash]] = {"md5": hashlib.md5, "sha-256": hashlib.sha256}


_DIGEST = re.compile(r"(?:^|,)\s*(digest) ", re.IGNORECASE)
"""Both may be in one header; a realm may be called so."""


def new_nonce() -> str:
    return os.urandom(8).hex()


@dataclass
class Challenge:
    """One ``WWW-Authenticate``, and how often it was answered."""

    scheme: str
    fields: dict[str, str]
    count: int = 0

    @classmethod
    def best(cls, headers: Iterable[str]) -> Challenge | None:
        """A digest before a plain password; None when neither is asked for."""
        found = [challenge for header in headers if (challenge := cls._parse(header))]
        return min(found, key=lambda challenge: challenge.scheme == "basic", default=None)

    @classmethod
    def _parse(cls, header: str) -> Challenge | None:
        digest = _DIGEST.search(header)
        scheme, _, text = header[digest.start(1) if digest else 0 :].partition(" ")
        fields: dict[str, str] = {}
        for part in parse_http_list(text):
            key, _, value = part.partition("=")
            fields.setdefault(key.strip().lower(), value.strip().strip('"'))
        algorithm = fields.get("algorithm", "md5").lower().removesuffix("-sess")
        usable = scheme.lower() == "basic" or (scheme.lower() == "digest" and algorithm in _HASHES)
        return cls(scheme.lower(), fields) if usable else None

    def answer(self, method: str, target: str, login: tuple[str, str]) -> str:
        """The value of ``Authorization``; ``target`` is path and query."""
        user, password = (os.fsencode(each) for each in login)
        if self.scheme == "basic":
            return "Basic " + base64.b64encode(user + b":" + password).decode("ascii")
        return self._digest(method, target, user, password)

    def _digest(self, method: str, target: str, user: bytes, password: bytes) -> str:
        algorithm = self.fields.get("algorithm", "MD5")
        algorithm_hash = _HASHES[algorithm.lower().removesuffix("-sess")]

        def hashed(*parts: bytes) -> bytes:
            return algorithm_hash(b":".join(parts)).hexdigest().encode("ascii")

        self.count += 1
        realm, nonce = (os.fsencode(self.fields.get(key, "")) for key in ("realm", "nonce"))
        count, own = f"{self.count:08x}", new_nonce()
        secret, what = hashed(user, realm, password), hashed(method.encode(), target.encode())
        if algorithm.lower().endswith("-sess"):
            secret = hashed(secret, nonce, own.encode())
        fields = {"username": os.fsdecode(user), "realm": self.fields.get("realm", ""), "nonce": os.fsdecode(nonce)}
        fields["uri"] = target
        plain = {"algorithm": algorithm} if "algorithm" in self.fields else {}
        if "auth" in [each.strip().lower() for each in self.fields.get("qop", "").split(",")]:
            response = hashed(secret, nonce, count.encode(), own.encode(), b"auth", what)
            plain |= {"qop": "auth", "nc": count}
            fields["cnonce"] = own
        else:
            response = hashed(secret, nonce, what)
        fields["response"] = response.decode("ascii")
        if "opaque" in self.fields:
            fields["opaque"] = self.fields["opaque"]
        quoted = [f'{key}="{_harmless(value)}"' for key, value in fields.items()]
        return "Digest " + ", ".join(quoted + [f"{key}={_harmless(value)}" for key, value in plain.items()])


def _harmless(value: str) -> str:
    """Nothing that ends the value or the header."""
    return "".join(character for character in value if character.isprintable() and character != '"')
