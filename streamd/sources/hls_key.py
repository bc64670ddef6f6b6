"""HLS segments that are encrypted with AES-128 (RFC 8216, 4.3.2.4)."""

from __future__ import annotations

from typing import Protocol

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

BLOCK_BYTES = 16


class ClosableFile(Protocol):
    def read(self, size: int, /) -> bytes: ...

    def close(self) -> None: ...


class Decrypted:
    """What is in ``encrypted``, as it is read. The last block is padding, in part or all (PKCS #7)."""

    def __init__(self, encrypted: ClosableFile, key: str, iv: str) -> None:
        """Both in hexadecimal. Raises ValueError, whose text shows neither."""
        self._encrypted = encrypted
        self._decryptor = Cipher(AES(_block(key, "key")), CBC(_block(iv, "IV"))).decryptor()
        self._held = b""
        """The newest block, which may be the last."""
        self._is_over = False

    def read(self, size: int) -> bytes:
        while not self._is_over:
            data = self._encrypted.read(max(1, size - BLOCK_BYTES))
            plain = self._held + self._decryptor.update(data)
            if not data:
                self._is_over = True
                return plain[: -plain[-1]] if plain and 1 <= plain[-1] <= BLOCK_BYTES else plain
            self._held = plain[-BLOCK_BYTES:]
            if len(plain) > BLOCK_BYTES:
                return plain[:-BLOCK_BYTES]
        return b""

    def close(self) -> None:
        self._encrypted.close()


def _block(text: str, what: str) -> bytes:
    try:
        block = bytes.fromhex(text)
    except ValueError:
        block = b""
    if len(block) != BLOCK_BYTES:
        raise ValueError(f"has no {what} of {BLOCK_BYTES} bytes")
    return block
