"""Finds out behind the pictures whether the network that runs may run in int8, where that is asked for."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

from streamd.concurrency import threads
from streamd.depth.estimator import ModelInfo
from streamd.depth.int8.album import Album
from streamd.depth.int8.scenes import Take, are_enough
from streamd.depth.launcher import Launcher
from streamd.errors import StreamdError

log = logging.getLogger(__name__)

POLL_S = 0.5


class Deciding:
    """One thread, while there is something to find out; it fills the album of the streams."""

    def __init__(self, launcher: Launcher, stop: threading.Event, on_decided: Callable[[ModelInfo], None]) -> None:
        """``on_decided``, in the thread: there is a verdict, or a reason why there is none."""
        self._launcher = launcher
        self._stop = stop
        self._on_decided = on_decided
        self._lock = threading.Lock()
        self._info: ModelInfo | None = None
        """What there is to find out about."""
        self._thread: threads.Worker | None = None
        self._runs = False
        self._failed: dict[str, str] = {}
        """Why it could not be found out, by the digest of the weights: not tried again."""
        self.album = Album()

    def begin(self, info: ModelInfo) -> None:
        """``info`` runs now. Does nothing more when int8 is not asked for, or all is known."""
        wanted = info.sha256 not in self._failed and self._launcher.lacks_verdict(info)
        with self._lock:
            self._info = info if wanted else None
            if wanted:
                self.album.open(album_of(info))
            else:
                self.album.close()
            if wanted and not self._runs:
                self._runs, self._thread = True, threads.start("int8", self._run)

    def remark(self, info: ModelInfo) -> str | None:
        """Why it does not run in int8, where that is asked for."""
        failed = self._failed.get(info.sha256)
        return failed if failed and self._launcher.lacks_verdict(info) else self._launcher.remark(info)

    def join(self) -> None:
        """After ``stop`` was set."""
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while True:
            with self._lock:
                info = self._info
                if info is None or self._stop.is_set():
                    self._runs = False
                    return
            takes = self.album.takes()
            if not are_enough(takes):
                self._stop.wait(POLL_S)
                continue
            self._decide(info, takes)
            with self._lock:
                if self._info is info:
                    self._info = None
                    self.album.close()
            if not self._stop.is_set():
                self._on_decided(info)

    def _decide(self, info: ModelInfo, takes: Sequence[Take]) -> None:
        try:
            verdict = self._launcher.decide(info.spec, takes)
        except StreamdError as error:
            self._failed[info.sha256] = f"int8 of {info.spec.name} cannot be made: {error}"
            if not self._stop.is_set():
                log.error("%s", self._failed[info.sha256])
            return
        if verdict.taken:
            log.info("int8 of %s is good: %s", info.spec.name, verdict.figures)
        else:
            log.warning("%s", verdict.refusal(info.spec))


def album_of(info: ModelInfo) -> tuple[str, str, int]:
    """Whose input an album holds."""
    return info.spec.reference, info.sha256, info.spec.preprocessing.input_size
