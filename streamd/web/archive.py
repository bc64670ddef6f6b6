"""Several pictures in one request, a zip with their depths back: each is sent when it is made."""

from __future__ import annotations

import asyncio
import time
import zipfile
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from aiohttp import web

from streamd.errors import Busy, DepthError, PictureError
from streamd.web.errors import Refusal
from streamd.web.parameters import shortened
from streamd.web.streaming import PIECE_BYTES, alive, send

PATIENCE_S = 60.0
"""How long one picture of several waits for others that came before."""
RETRY_S = 0.2
MAX_NAME = 100
ERRORS = "errors.txt"


@dataclass
class Upload:
    """A picture of a form, and what its sender calls it."""

    name: str | None
    data: bytearray


def entry_names(uploads: Sequence[Upload], ending: str) -> list[str]:
    """Those of the pictures with another ending: no folders, no two alike."""
    names: list[str] = []
    taken = {ERRORS}
    for number, upload in enumerate(uploads, 1):
        given = PurePosixPath((upload.name or "").replace("\\", "/")).stem
        stem = "".join(letter for letter in given if letter.isprintable() and letter != ":")[:MAX_NAME]
        stem = stem.strip(" .") or f"picture-{number}"
        name, again = f"{stem}.{ending}", 2
        while name.casefold() in taken:
            name, again = f"{stem}-{again}.{ending}", again + 1
        taken.add(name.casefold())
        names.append(name)
    return names


async def send_depths(
    request: web.Request,
    uploads: Sequence[Upload],
    make: Callable[[bytearray], Awaitable[memoryview]],
    room: Callable[[int], None],
    ending: str,
) -> web.StreamResponse:
    """One depth at a time is in memory. ``make`` raises StreamdError. ``room``, with a count of bytes, raises Refusal
    when too much is being sent already; a negative count gives back.

    Pictures that cannot be read are lines in ``errors.txt``, and a Refusal (422) when none can. What else goes wrong
    is raised, until the first is made; then it is a line, too.
    """
    archive, failed = _Archive(request), []
    for upload, name in zip(uploads, entry_names(uploads, ending), strict=True):
        called = shortened(upload.name or name)
        try:
            made = await _when_possible(request, make, upload.data)
            room(len(made))
        except (PictureError, DepthError, Busy, Refusal) as error:
            if not isinstance(error, PictureError) and not archive.begun:
                raise
            failed.append(f"{called}: {error}")
            continue
        finally:
            upload.data = bytearray()
        try:
            if not await archive.add(name, made):
                return archive.response
        finally:
            room(-len(made))
            del made
    if not archive.begun:
        raise Refusal(422, "bad_picture", "; ".join(failed))
    if failed and not await archive.add(ERRORS, memoryview("".join(f"{line}\n" for line in failed).encode())):
        return archive.response
    await archive.end()
    return archive.response


async def _when_possible(
    request: web.Request, make: Callable[[bytearray], Awaitable[memoryview]], data: bytearray
) -> memoryview:
    """Who has sent several waits for its turn with each."""
    give_up_at = time.monotonic() + PATIENCE_S
    while True:
        try:
            return await make(data)
        except Busy:
            if not alive(request) or time.monotonic() > give_up_at:
                raise
        await asyncio.sleep(RETRY_S)


class _Archive:
    """A zip that goes out as it grows. Nothing in it is packed: pictures are already."""

    def __init__(self, request: web.Request) -> None:
        self._request = request
        self._unsent = _Unsent()
        self._zip = zipfile.ZipFile(self._unsent, "w")  # type: ignore[call-overload]  # writes are all it needs
        headers = {"Content-Disposition": 'attachment; filename="depth.zip"', "Cache-Control": "no-store"}
        self.response = web.StreamResponse(headers=headers)
        self.response.content_type = "application/zip"

    @property
    def begun(self) -> bool:
        return self.response.prepared

    async def add(self, name: str, data: memoryview) -> bool:
        """False when the client has gone."""
        if not self.begun:
            await self.response.prepare(self._request)
        entry = zipfile.ZipInfo(name, time.localtime()[:6])
        entry.file_size = len(data)
        with self._zip.open(entry, "w") as file:
            for start in range(0, len(data), PIECE_BYTES):
                file.write(data[start : start + PIECE_BYTES])
                if not await self._send():
                    return False
        return await self._send()

    async def end(self) -> None:
        self._zip.close()
        await self._send()

    async def _send(self) -> bool:
        return await send(self._request, self.response, self._unsent.take())


class _Unsent:
    """A file that can be written to, and emptied."""

    def __init__(self) -> None:
        self._data = bytearray()

    def write(self, data: bytes) -> int:
        self._data += data
        return len(data)

    def flush(self) -> None:
        """zipfile asks for it."""

    def take(self) -> bytes:
        data, self._data = bytes(self._data), bytearray()
        return data
