"""Connections to the servers that streams are pushed to."""

from __future__ import annotations

import asyncio
import functools
import os
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from streamd.concurrency import threads
from streamd.config.address import SourceAddress
from streamd.config.push import PushTarget
from streamd.errors import PushFailed

DIAL_S = 4.0
"""A host that is back answers by then: a SYN is repeated after 1 s and 3 s."""
MAX_LINE = 16 * 1024
MAX_ADDRESSES = 4
"""Of a name; one after the other."""
UNSENT_BYTES = 128 * 1024
"""What may wait in the system for a server: the rest would be old when it arrives."""
_NOTSENT_LOWAT = getattr(socket, "TCP_NOTSENT_LOWAT", 25)  # Linux's number; Python names it from 3.12 on


@asynccontextmanager
async def connected(
    address: SourceAddress, *, tls: bool
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """The name is looked up in a thread of the event loop's. Certificates are checked. OSErrors within the context
    come out as PushFailed."""
    try:
        reader, writer = await _dial(address, await threads.call("push-tls", _verified) if tls else None)
    except (OSError, UnicodeError) as error:  # TimeoutError is one
        raise PushFailed(phrase(error)) from None
    try:
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, _NOTSENT_LOWAT, UNSENT_BYTES)
        yield reader, writer
    except OSError as error:
        raise PushFailed(phrase(error)) from None
    finally:
        writer.transport.abort()


async def _dial(
    address: SourceAddress, tls: ssl.SSLContext | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """To the first of its addresses that takes it. asyncio's own race between them (RFC 8305) may lose a socket when it
    is cancelled (Python 3.11)."""
    failure: OSError = OSError("no address")
    for host in await _addresses(address):
        try:
            async with asyncio.timeout(DIAL_S):
                name = address.host if tls else None
                return await asyncio.open_connection(host, address.port, ssl=tls, server_hostname=name, limit=MAX_LINE)
        except OSError as error:
            failure = error
    raise failure


async def _addresses(address: SourceAddress) -> list[str]:
    """Raises OSError and UnicodeError."""
    if ":" in address.host:
        return [address.host.replace("%25", "%")]
    async with asyncio.timeout(DIAL_S):
        found = await asyncio.get_running_loop().getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    return [str(place[0]) for *_, place in found[:MAX_ADDRESSES]]


async def login_of(target: PushTarget) -> tuple[str, str] | None:
    """User and password; None: there is none. A file is read in a thread. Raises PushFailed."""
    try:
        return await threads.call("push-login", target.login) if target.reference else target.login()
    except ValueError as error:
        raise PushFailed(str(error), refused=True) from None


def phrase(error: OSError | UnicodeError) -> str:
    """Without addresses."""
    if isinstance(error, UnicodeError | socket.gaierror):
        return "its name is not known here"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is refused: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return "does not speak TLS as it should"
    if isinstance(error, TimeoutError):
        return "does not answer"
    return os.strerror(error.errno).lower() if error.errno and error.errno > 0 else "cannot be reached"


@functools.cache
def _verified() -> ssl.SSLContext:
    """Reads the authorities' certificates from the disk."""
    return ssl.create_default_context()
