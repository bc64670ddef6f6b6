"""RTSP with rubbish: requests and interleaved packets, damaged at random, the same for the same seed.

``python -m tests.support.rtsp_fuzz --count 100000 --seed 1`` prints what came of it as JSON, and ends with 1 when
something of it is left, memory has grown, or a fault of ours was logged.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import random
import re
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from streamd.host.allocator import release_memory
from streamd.sinks.rtsp import Login
from streamd.web.tokens import Failures, Tokens
from tests.support.mutate import mutated
from tests.support.rtsp_client import PorchServer, porch_served

TOKEN = "look-at-it"
PER_CONNECTION = 25
AT_ONCE = 8
WARM_UP = 5000
MAX_GROWTH_MB = 4.0
ANSWERED_S = 10.0
_STATUS = re.compile(rb"RTSP/1\.0 (\d{3}) ")

SETUPS = (
    b"RTP/AVP/TCP;unicast;interleaved=0-1",
    b"RTP/AVP;unicast;client_port=40000-40001",
    b"RTP/AVP;multicast,RTP/AVP/TCP;interleaved=2-3;mode=play",
)
REPORT = b"\x80\xc9\0\7" + bytes(28)
FRAMES = (b"$\1\0\x20" + REPORT, b"$\0\0\x08" + bytes(8), b"$\1\xff\xff" + bytes(65535), b"$\1\0\0")
DIGEST = (
    b'Digest username="u", realm="streamd", nonce="0", uri="rtsp://h/porch", response="0", qop=auth, nc=1, cnonce="c"'
)


@dataclass
class Outcome:
    sent: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    hung_up: int = 0
    """Connections that ended before all was sent."""
    faults: list[str] = field(default_factory=list)


class _Faults(logging.Handler):
    def __init__(self, found: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._found = found

    def emit(self, record: logging.LogRecord) -> None:
        self._found.append(record.getMessage())


def messages(chance: random.Random, url: str) -> list[bytes]:
    """A conversation as a player has it, and what a player may say at any time."""
    sequence = 0

    def request(method: str, path: str, *headers: bytes) -> bytes:
        nonlocal sequence
        sequence += 1
        lines = [f"{method} {url}{path} RTSP/1.0".encode(), b"CSeq: %d" % sequence, *headers]
        return b"\r\n".join([*lines, b"", b""])

    login = b"Authorization: " + chance.choice((DIGEST, b"Basic OmxvbmctZ29uZQ==", b"Basic Omxvb2stYXQtaXQ="))
    setup = b"Transport: " + chance.choice(SETUPS)
    usual = [
        request("OPTIONS", ""),
        request("DESCRIBE", chance.choice(("/porch", "/porch/depth", "/nobody")), b"Accept: application/sdp", login),
        request("SETUP", "/porch/depth/trackID=0", setup, login),
        request("PLAY", "/porch/depth", b"Range: npt=0-"),
        chance.choice(FRAMES),
        request("GET_PARAMETER", "/porch", b"Content-Length: 5") + b"ping\n",
        request("PAUSE", "/porch"),
        request("PLAY", "/porch", b"Session: 1234"),
        chance.choice(FRAMES),
        request("TEARDOWN", "/porch"),
    ]
    return [usual[number % len(usual)] for number in range(PER_CONNECTION)]


async def converse(server: PorchServer, seed: int, outcome: Outcome) -> None:
    chance = random.Random(seed)
    reader, writer = await asyncio.open_connection(*server.rtsp.address)
    damage = chance.choice((0.02, 0.2, 1.0))
    with suppress(ConnectionError):
        for number, message in enumerate(messages(chance, server.url)):
            outcome.sent += 1
            writer.write(mutated(message, seed + number) if chance.random() < damage else message)
            if chance.random() < 0.1:
                await writer.drain()
        writer.write_eof()
    async with asyncio.timeout(ANSWERED_S):
        with suppress(ConnectionError):
            answered = await reader.read(-1)
            outcome.statuses.update(status.decode() for status in _STATUS.findall(answered))
    outcome.hung_up += 1
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def attack(count: int, seed: int, server: PorchServer) -> Outcome:
    outcome, before = Outcome(), server.rtsp.connections
    handler = _Faults(outcome.faults)
    logging.getLogger().addHandler(handler)
    next_seed = seed * 1_000_003

    async def one_after_the_other() -> None:
        nonlocal next_seed
        while outcome.sent < count:
            next_seed += PER_CONNECTION
            await converse(server, next_seed, outcome)

    try:
        await asyncio.gather(*(one_after_the_other() for _ in range(AT_ONCE)))
        await server.until(lambda: server.rtsp.connections == before)
    finally:
        logging.getLogger().removeHandler(handler)
    return outcome


def login() -> Login:
    """Guesses are not limited: what is behind the login is to be attacked too."""
    return Login(
        [TOKEN],
        lambda token: Tokens([TOKEN]).scope(token) is not None,
        Failures(lambda: 1e9 * time.time()),
        hashed=False,
    )


def resident_mb() -> float:
    release_memory()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


async def main(count: int, seed: int) -> int:
    async with porch_served() as open_, porch_served(login=login()) as locked:
        for server in (open_, locked):
            await attack(WARM_UP // 2, seed + 1, server)
        before, descriptors = resident_mb(), len(os.listdir("/proc/self/fd"))
        started = time.monotonic()
        outcomes = [await attack(count // 2, seed, server) for server in (open_, locked)]
        growth = resident_mb() - before
        left = len(os.listdir("/proc/self/fd")) - descriptors + open_.porch.watching() + locked.porch.watching()
    faults = [fault for outcome in outcomes for fault in outcome.faults]
    result = {
        "sent": sum(outcome.sent for outcome in outcomes),
        "statuses": dict(sum((outcome.statuses for outcome in outcomes), Counter())),
        "s": round(time.monotonic() - started, 1),
        "growth_mb": round(growth, 2),
        "left": left,
        "faults": faults[:5],
    }
    print(json.dumps(result, indent=1))
    return int(bool(faults or left or growth > MAX_GROWTH_MB))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    sys.exit(asyncio.run(main(options.count, options.seed)))
