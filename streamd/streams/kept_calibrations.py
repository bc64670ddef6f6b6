"""Calibrations over restarts, and their end: another network or another camera has other metres."""

from __future__ import annotations

import asyncio
import json
import logging
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, fields
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from streamd.concurrency import threads
from streamd.concurrency.backoff import Backoff
from streamd.config.redact import redact_source
from streamd.depth.calibration import MAX_POINTS, MIN_POINTS, Calibration, Reading
from streamd.depth.service import DepthService
from streamd.host.whole_file import write_whole
from streamd.streams.calibrated import Calibrated
from streamd.streams.fleet import Change, Fleet
from streamd.streams.stream import Stream
from streamd.telemetry.logs import StreamLog

log = logging.getLogger(__name__)

MAX_BYTES = 16 * 1024 * 1024
FLUSH_S = 1.0
"""What the end waits for the disk."""
BACKOFF = Backoff(first_s=1.0, cap_s=60.0)
"""Between attempts to write that fail."""


class KeptCalibrations:
    """Lives on the event loop; one task reads the file, then writes it after each change, in threads."""

    def __init__(self, file: Path | None, fleet: Fleet, service: DepthService) -> None:
        """Without a file they hold until the end."""
        self._file = file
        self._fleet = fleet
        self._service = service
        self._kept: dict[str, Calibrated] = {}
        """By the name of the stream; also of streams that are not there, for they may come back."""
        self._changed_names: set[str] = set()
        """Before the file has been read: what it says of these is out of date."""
        self._wake = asyncio.Event()
        self._closing = False

    async def run(self) -> None:
        """Until it is cancelled."""
        model_changed = self._model_watcher()
        self._fleet.watchers.add(self._changed)
        self._service.watchers.add(model_changed)
        try:
            found = await self._load()
            writing = asyncio.create_task(self._write_changes(found), name="kept-calibrations")
            try:
                await asyncio.shield(writing)
            finally:  # what was changed last is written; a disk that is too slow is left to itself
                self._closing = True
                self._wake.set()
                await asyncio.wait([writing], timeout=FLUSH_S)
                writing.cancel()
        finally:
            self._fleet.watchers.discard(self._changed)
            self._service.watchers.discard(model_changed)

    async def _write_changes(self, written: dict[str, Calibrated]) -> None:
        """Until it is closing and all is written. ``written``: what the file holds."""
        delays = BACKOFF.start()
        while not self._closing or written != self._kept:
            await self._wake.wait()
            self._wake.clear()
            kept = dict(self._kept)
            if kept == written:
                continue
            if await self._save(kept):
                delays, written = BACKOFF.start(), kept
            else:
                self._wake.set()
                await asyncio.sleep(delays.after(0.0))

    def _model_watcher(self) -> Callable[[], None]:
        loop = asyncio.get_running_loop()

        def changed() -> None:
            """Any thread."""
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._model_changed)

        return changed

    async def _load(self) -> dict[str, Calibrated]:
        """What the file holds."""
        if self._file is None:
            return {}
        found = await threads.call("kept-calibrations", partial(read, self._file))
        self._kept.update({name: each for name, each in found.items() if name not in self._changed_names})
        for stream in self._fleet.values():
            self._attach(stream)
        return found

    async def _save(self, kept: dict[str, Calibrated]) -> bool:
        if self._file is None:
            return True
        try:
            await threads.call("kept-calibrations", partial(write, self._file, kept))
        except OSError as error:
            log.error("%s: calibrations are not kept: %s", self._file, error.strerror or error)
            return False
        return True

    def _attach(self, stream: Stream) -> None:
        kept = self._kept.get(stream.name)
        if kept is None or stream.calibrated is not None:
            return
        if kept.source == redact_source(stream.config.source):
            stream.calibrate(kept)
            self._model_changed()
        else:
            self._end(stream, "the camera is another")

    def _changed(self, stream: Stream, change: Change) -> None:
        """Of the fleet."""
        if change == "added":
            self._attach(stream)
        elif change == "calibration":
            self._keep(stream.name, stream.calibrated)
        elif change == "removed":
            self._keep(stream.name, None)
        elif stream.calibrated and stream.calibrated.source != redact_source(stream.config.source):
            self._end(stream, "the camera is another")

    def _keep(self, name: str, calibrated: Calibrated | None) -> None:
        self._kept.pop(name, None)
        if calibrated is not None:
            self._kept[name] = calibrated
        self._changed_names.add(name)
        self._wake.set()

    def _model_changed(self) -> None:
        """The network that is wanted answers now; one that stands in for it ends nothing."""
        status = self._service.status
        info = status.info
        if info is None or info.spec.reference != status.wanted:
            return
        for stream in self._fleet.values():
            made = stream.calibrated
            if made and (made.sha256, made.input_size) != (info.sha256, status.full_input_size):
                with_size = f"{made.model} at {made.input_size} px"
                self._end(stream, f"the model has changed: it was made with {with_size}")

    def _end(self, stream: Stream, why: str) -> None:
        reason = f"{why}; calibrate again"
        StreamLog(log, stream.name).warning("the calibration is reset: %s", reason)
        stream.calibrate(None, reason)


def read(file: Path) -> dict[str, Calibrated]:
    """Logs what cannot be read. Blocks."""
    try:
        with file.open("rb") as opened:
            entries = json.loads(opened.read(MAX_BYTES))["streams"].items()
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        log.error("%s: the calibrations cannot be read: %s", file, type(error).__name__)
        return {}
    found = {}
    for name, entry in entries:
        try:
            found[name] = _calibrated(entry)
        except (ValueError, KeyError, TypeError, OverflowError) as error:
            log.error("%s: a calibration cannot be read: %s: %s", file, ascii(name), type(error).__name__)
    return found


def write(file: Path, kept: dict[str, Calibrated]) -> None:
    """Raises OSError. Blocks."""
    file.parent.mkdir(parents=True, exist_ok=True)
    content = {"version": 1, "streams": {name: asdict(each) for name, each in kept.items()}}
    write_whole(file, json.dumps(content, indent=1).encode())


def _calibrated(entry: dict[str, Any]) -> Calibrated:
    """Raises ValueError, KeyError, TypeError, OverflowError."""
    found = entry["calibration"]
    keys = [field.name for field in fields(Reading)]
    readings = tuple(Reading(*(_number(reading[key]) for key in keys)) for reading in found["readings"])
    line = Calibration(_number(found["a"]), _number(found["b"]), _number(found["standard_error"]), readings)
    if not MIN_POINTS <= len(readings) <= MAX_POINTS or not line.a > 0 or not line.is_spread:
        raise ValueError("is no line")
    width, height = entry["size"]
    return Calibrated(
        line,
        str(entry["model"]),
        str(entry["sha256"]),
        int(entry["input_size"]),
        (int(width), int(height)),
        str(entry["source"]),
        _moment(entry["made_at"]),
    )


def _number(value: Any) -> float:
    """Raises ValueError, TypeError, OverflowError."""
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("is no number")
    return number


def _moment(value: Any) -> float:
    """Unix time, of which there is a date. Raises ValueError, TypeError, OverflowError."""
    moment = _number(value)
    datetime.fromtimestamp(moment, UTC)
    return moment
