"""TLS to cameras."""

from __future__ import annotations

import ssl
from functools import lru_cache


@lru_cache(maxsize=1)
def any_certificate() -> ssl.SSLContext:
    """Cameras sign their own, and some know no TLS later than 1.0."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    return context
