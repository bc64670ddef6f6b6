"""Damages files as links, disks and hostile hands do: the same for the same number."""

from __future__ import annotations

import random
import re
import struct
from collections.abc import Callable

Mutation = Callable[[bytearray, random.Random], bytearray]

SIZES = (0, 1, 7, 8, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF0, 0xFFFFFFFF)
_TYPE = re.compile(rb"[A-Za-z][A-Za-z0-9 ]{3}")
"""Of a box or chunk, in MP4, PNG, RIFF."""


def mutated(data: bytes, seed: int) -> bytes:
    """One to three kinds of damage. Never the same as before, unless it is empty."""
    chance, result = random.Random(seed), bytearray(data)
    while result == data and data:
        for mutate in chance.choices(MUTATIONS, k=chance.randint(1, 3)):
            result = mutate(result, chance)
    return bytes(result)


def _span(data: bytearray, chance: random.Random, most: int = 4096) -> slice:
    start = chance.randrange(len(data) + 1)
    return slice(start, start + chance.randint(1, most))


def flip_bits(data: bytearray, chance: random.Random) -> bytearray:
    for _ in range(min(len(data), chance.choice((1, 4, 64)))):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return data


def flip_bits_at_the_beginning(data: bytearray, chance: random.Random) -> bytearray:
    """Where headers are."""
    return flip_bits(data[:512], chance) + data[512:]


def cut(data: bytearray, chance: random.Random) -> bytearray:
    return data[: chance.randrange(len(data) + 1)]


def cut_out(data: bytearray, chance: random.Random) -> bytearray:
    del data[_span(data, chance)]
    return data


def insert(data: bytearray, chance: random.Random) -> bytearray:
    at = chance.randrange(len(data) + 1)
    data[at:at] = chance.randbytes(chance.randint(1, 4096))
    return data


def overwrite(data: bytearray, chance: random.Random) -> bytearray:
    span = _span(data, chance)
    filler = chance.choice((b"\0", b"\xff", chance.randbytes(1)))
    data[span] = filler * len(data[span])
    return data


def swap(data: bytearray, chance: random.Random) -> bytearray:
    one, two, three = sorted(chance.randrange(len(data) + 1) for _ in range(3))
    return data[:one] + data[two:three] + data[one:two] + data[three:]


def repeat(data: bytearray, chance: random.Random) -> bytearray:
    span = _span(data, chance)
    data[span.start : span.start] = data[span] * chance.randint(1, 8)
    return data


def resize(data: bytearray, chance: random.Random) -> bytearray:
    """Another size for a box or chunk: before its type (MP4, PNG) or behind it (RIFF)."""
    found = [match.start() for match in _TYPE.finditer(data)]
    if found:
        at = max(0, chance.choice(found) + chance.choice((-4, 4)))
        data[at : at + 4] = struct.pack(chance.choice((">I", "<I")), chance.choice((*SIZES, chance.getrandbits(16))))
    return data


MUTATIONS: tuple[Mutation, ...] = (
    flip_bits,
    flip_bits_at_the_beginning,
    cut,
    cut_out,
    insert,
    overwrite,
    swap,
    repeat,
    resize,
)
