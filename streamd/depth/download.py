"""Downloads one large file over HTTP; an interrupted download is resumed."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path

from streamd import __version__
from streamd.config.redact import redact
from streamd.depth.files import write_json
from streamd.errors import DepthError

Progress = Callable[[int, int | None], None]
"""(bytes that are here, all bytes or None while unknown). What it raises ends the download."""

_TIMEOUT_S = 30.0
_ATTEMPTS = 4
_BLOCK_BYTES = 1 << 18
MAX_WEIGHTS_BYTES = 1 << 33


class _Cut(Exception):
    """The transfer ended early; what came is kept."""


def download(url: str, part: Path, progress: Progress) -> None:
    """Downloads ``url`` into ``part``, and continues what an earlier call left there.

    Resumes (RFC 9110 section 14) only what the server's ETag or Last-Modified proves to be the same
    file, and by itself as long as each attempt brings something. Raises DepthError with what went
    wrong on the net, OSError when the disk is at fault.
    """
    for attempt in range(1, _ATTEMPTS + 1):
        before = _size(part)
        try:
            _transfer(url, part, progress)
            return
        except _Cut as cut:
            if attempt == _ATTEMPTS or _size(part) <= before:
                raise DepthError(
                    f"{redact(url)}: cut after {_size(part):,} bytes ({cut}); try again to carry on from there"
                ) from cut


def discard(part: Path) -> None:
    """Forgets what was downloaded."""
    part.unlink(missing_ok=True)
    _notes(part).unlink(missing_ok=True)


def _transfer(url: str, part: Path, progress: Progress) -> None:
    """One request. Raises like ``download``, and _Cut."""
    done, total, validator = _resume_point(url, part)
    if done and done == total:
        return
    headers = {"User-Agent": f"streamd/{__version__}"}
    if done:
        headers |= {"Range": f"bytes={done}-", "If-Range": validator}
    with _open(urllib.request.Request(url, headers=headers), part) as response:
        if response.status != HTTPStatus.PARTIAL_CONTENT:  # from the start: it changed, or the server knows no Range
            discard(part)
            done = 0
        elif not response.headers.get("Content-Range", "").startswith(f"bytes {done}-"):
            discard(part)
            raise _Cut("the server sent another part of the file than it was asked for")
        length = response.headers.get("Content-Length")
        total = done + int(length) if length else None
        _check_size(url, part, total or 0)
        _require_space(part.parent, (total or 0) - done)
        write_json(_notes(part), {"url": url, "validator": _validator(response.headers), "total": total})
        with part.open("ab") as file:
            progress(done, total)
            while block := _read(response):
                file.write(block)
                done += len(block)
                _check_size(url, part, done)
                progress(done, total)
            file.flush()
            os.fsync(file.fileno())
    if total is not None and done < total:
        raise _Cut("the connection was closed")


def _resume_point(url: str, part: Path) -> tuple[int, int | None, str]:
    """(bytes that are here, all bytes, proof of what file they are of); 0 bytes when nothing can be carried on."""
    try:
        notes = json.loads(_notes(part).read_text())
        if notes["url"] == url and notes["validator"]:
            return _size(part), notes["total"], notes["validator"]
    except (OSError, ValueError, KeyError, TypeError):
        pass
    discard(part)
    return 0, None, ""


def _open(request: urllib.request.Request, part: Path) -> http.client.HTTPResponse:
    url, host = redact(request.full_url), request.host
    try:
        response: http.client.HTTPResponse = urllib.request.urlopen(request, timeout=_TIMEOUT_S)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            discard(part)
            raise _Cut("the file on the server has changed") from error
        raise DepthError(f"{url}: the server answers {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise DepthError(f"{url}: cannot reach {host}: {_phrase(error.reason)}") from error
    except (OSError, http.client.HTTPException) as error:
        raise DepthError(f"{url}: no answer from {host}: {_phrase(error)}") from error
    return response


def _read(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read1(_BLOCK_BYTES)
    except (OSError, http.client.HTTPException) as error:
        raise _Cut(_phrase(error)) from error


def _validator(headers: http.client.HTTPMessage) -> str:
    """What If-Range takes: a strong ETag, else the date."""
    etag: str = headers.get("ETag", "")
    return etag if etag and not etag.startswith("W/") else headers.get("Last-Modified", "")


def _check_size(url: str, part: Path, size: int) -> None:
    if size > MAX_WEIGHTS_BYTES:
        discard(part)
        raise DepthError(f"{redact(url)}: is larger than {MAX_WEIGHTS_BYTES >> 30} GB: no network has so much")


def _require_space(directory: Path, needed: int) -> None:
    free = shutil.disk_usage(directory).free
    if needed > free:
        raise DepthError(f"{directory}: disk full: {needed / 1e6:.0f} MB needed, {free / 1e6:.0f} MB free")


def _notes(part: Path) -> Path:
    return part.with_name(part.name + ".json")


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _phrase(error: object) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(text.split()).lower()
