"""HTTPS from two files, which may be replaced while it answers."""

from __future__ import annotations

import ssl
from functools import partial
from pathlib import Path

from streamd.concurrency import threads
from streamd.config.sections import ServerConfig
from streamd.errors import ConfigError, Problem


class Tls:
    """For new connections; TLS 1.2 at least."""

    def __init__(self, certificate: Path, key: Path) -> None:
        """PEM files. Raises ConfigError."""
        self._files = (certificate, key)
        self.context = _load(*self._files)
        """Replaced as a whole: the one before may be in use."""

    async def reload(self) -> None:
        """Takes the files as they are now. Raises ConfigError, and goes on with what it has."""
        self.context = await threads.call("certificate", partial(_load, *self._files))


def load_tls(config: ServerConfig) -> Tls | None:
    """None: plain HTTP. Raises ConfigError."""
    if config.tls_certificate is None or config.tls_key is None:
        return None
    return Tls(config.tls_certificate, config.tls_key)


def _load(certificate: Path, key: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    for name, file in (("tls_certificate", certificate), ("tls_key", key)):
        try:
            file.read_bytes()
        except OSError as error:
            raise ConfigError([Problem(f"server.{name}", str(file), f"cannot be read: {error.strerror}")]) from None
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except (ssl.SSLError, ValueError):
        reason = "this and server.tls_key are no PEM certificate and its key, without a password"
        raise ConfigError([Problem("server.tls_certificate", str(certificate), reason)]) from None
    return context


def _no_password() -> str:
    """Else OpenSSL asks for one on the terminal."""
    return ""
