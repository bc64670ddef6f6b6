"""Tries a source once, before it becomes a stream: its first picture, or what is wrong with it."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

import cv2
import numpy as np

from streamd.concurrency import threads
from streamd.config.sections import StreamConfig
from streamd.errors import Busy, SourceEnded, SourceError, SourceUnreachable, SourceUnsupported
from streamd.media.frames import Scaler
from streamd.render.masks import Masks
from streamd.sources import Source
from streamd.states import Origin

log = logging.getLogger(__name__)

MAX_TRIALS, MAX_THREADS = 2, 8
"""At once; and with those that FFmpeg still holds though nobody waits for them any more."""
TRIAL_S = 15.0
"""A camera has this long for its first picture, opening included."""
MAX_SIDE = 1280
"""Of the picture that comes back, px."""
JPEG_QUALITY = 85

Open = Callable[[StreamConfig, threading.Event, Origin], Source]


@dataclass(frozen=True)
class Tried:
    """What came."""

    jpeg: bytes
    width: int
    height: int
    """Of the source, px; the picture may be smaller."""


class Trials:
    """Lives on the event loop. Each has a thread of its own, which ends with the wait for it, or with FFmpeg's
    time-outs."""

    def __init__(self, open_source: Open) -> None:
        self._open = open_source
        self._running: dict[threads.Worker, threading.Event] = {}

    async def run(self, config: StreamConfig, origin: Origin) -> Tried:
        """``origin``: by whose rules it is opened. Raises SourceError, and Busy when there are too many. Cancel it to
        end it."""
        waited_for = sum(not stop.is_set() for stop in self._running.values())
        if waited_for >= MAX_TRIALS or len(self._running) >= MAX_THREADS:
            raise Busy(f"{MAX_TRIALS} sources are being tried already: try again in a moment")
        source = self._open(config, threading.Event(), origin)
        results: list[Tried] = []
        thread = threads.start("trial", lambda: results.append(_first(source)))
        self._running[thread] = source.stop
        finished = asyncio.wrap_future(thread.finished)
        finished.add_done_callback(lambda _: self._running.pop(thread, None))
        finished.add_done_callback(lambda done: done.cancelled() or done.exception())
        try:
            async with asyncio.timeout(TRIAL_S):
                await asyncio.shield(finished)
        except TimeoutError:
            raise SourceUnreachable(source.name, f"no picture within {TRIAL_S:.0f} s") from None
        finally:
            source.stop.set()
            if not finished.done():
                threads.abandon(thread)
        return results[0]

    def close(self) -> None:
        """All end soon."""
        for stop in self._running.values():
            stop.set()


def _first(source: Source) -> Tried:
    """The thread's body. Raises SourceError."""
    try:
        with closing(source.frames()) as pictures:
            picture = next(iter(pictures), None)
            if picture is None:
                raise SourceEnded(source.name, "has no picture")
            rgb = Scaler().rgb(Masks(source.config.masks)(picture))
    except SourceError:
        raise
    except Exception as error:
        log.exception("%s: trial", source.name)
        raise SourceUnsupported(source.name, f"cannot be opened: {type(error).__name__}") from None
    height, width = rgb.shape[:2]
    scale = min(1.0, MAX_SIDE / max(width, height))
    small = cv2.resize(rgb, (max(1, round(width * scale)), max(1, round(height * scale))), interpolation=cv2.INTER_AREA)
    done, data = cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise SourceUnsupported(source.name, "has a picture that cannot be shown")
    return Tried(np.asarray(data).tobytes(), width, height)
