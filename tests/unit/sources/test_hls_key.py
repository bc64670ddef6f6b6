"""Decryption of HLS segments, in pieces of any size."""

from __future__ import annotations

import io
import os

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

from streamd.sources.hls_key import Decrypted

KEY, IV = os.urandom(16), os.urandom(16)


class Dribbling(io.BytesIO):
    """Gives no more than so many bytes at once, as a connection does."""

    def __init__(self, data: bytes, piece: int) -> None:
        super().__init__(data)
        self._piece = piece

    def read(self, size: int | None = -1) -> bytes:
        return super().read(min(self._piece, size or 0))


def encrypted(plain: bytes) -> bytes:
    padding = 16 - len(plain) % 16
    encryptor = Cipher(AES(KEY), CBC(IV)).encryptor()
    return encryptor.update(plain + bytes([padding]) * padding) + encryptor.finalize()


@pytest.mark.parametrize("length", [0, 1, 15, 16, 17, 32, 188 * 40])
@pytest.mark.parametrize("piece", [1, 7, 16, 17, 33, 100_000])
def test_what_was_encrypted_comes_back(length: int, piece: int) -> None:
    plain = os.urandom(length)
    file = Decrypted(Dribbling(encrypted(plain), piece), KEY.hex(), IV.hex())
    found = b""
    while data := file.read(100):
        assert len(data) <= 100
        found += data
    assert found == plain
    assert file.read(100) == b""


def test_what_breaks_off_is_not_read_past() -> None:
    file = Decrypted(io.BytesIO(encrypted(b"x" * 100)[:-5]), KEY.hex(), IV.hex())
    found = b"".join(iter(lambda: file.read(50), b""))
    assert (b"x" * 100).startswith(found[:80])
