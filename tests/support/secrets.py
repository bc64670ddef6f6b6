"""Looking for secrets, whatever form they have taken on their way."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from urllib.parse import quote, quote_plus


def forms(secret: str) -> set[bytes]:
    """A text as it is, escaped for URLs, JSON and repr(), in hexadecimal, and within any Base64."""
    raw = secret.encode()
    texts = {secret, quote(secret, safe=""), quote(secret), quote_plus(secret), quote(secret, safe="").lower()}
    texts |= {json.dumps(secret)[1:-1], repr(secret)[1:-1], raw.hex(), raw.hex().upper()}
    return {text.encode() for text in texts} | set(_in_base64(raw))


def _in_base64(raw: bytes) -> Iterable[bytes]:
    """The letters that do not depend on what is before and after, for each of three places to begin."""
    for before in range(3):
        whole = (before + len(raw)) // 3 * 3 - before
        for alphabet in (base64.b64encode, base64.urlsafe_b64encode):
            yield alphabet(bytes(before) + raw[:whole])[4 if before else 0 :]


class Scanner:
    """Knows all secrets, by what they are for."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        self.secrets = secrets
        self._forms = {name: forms(secret) for name, secret in secrets.items()}

    def found(self, reported: bytes | str) -> set[str]:
        """The names of those that are in there."""
        data = reported.encode("utf-8", "surrogateescape") if isinstance(reported, str) else reported
        return {name for name, forms in self._forms.items() if any(form in data for form in forms)}
