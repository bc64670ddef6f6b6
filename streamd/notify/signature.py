"""How a webhook is signed: Standard Webhooks 1.0, https://github.com/standard-webhooks/standard-webhooks."""

from __future__ import annotations

import base64
import binascii
import hmac

PREFIX = "whsec_"


def key(secret: str) -> bytes:
    """``whsec_`` and base64, or any other text as it is. Raises ValueError, which shows nothing of it."""
    if not secret.startswith(PREFIX):
        return secret.encode("utf-8", "surrogateescape")
    try:
        found = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except binascii.Error:
        found = b""
    if not found:
        raise ValueError(f"what follows {PREFIX} is not base64")
    return found


def signature(key: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """The value of ``webhook-signature``."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode()
