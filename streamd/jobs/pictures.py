"""`streamd depth` of many pictures: each into a file of its own, all in one folder.

The network sees one picture at a time: on a CPU a batch of four takes no less than four times one (measured: 1.00 of
the CPU time, 1.13 of the wall time), and pictures differ in size. What is gained is gained beside it: while one is
inferred, others are read, enlarged and written.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from streamd.concurrency import threads
from streamd.config.redact import redact_source
from streamd.config.sections import PictureFormat, View
from streamd.depth.service import DepthService
from streamd.errors import InferenceFailed, PictureError, SinkError, SourceError, StreamdError, UsageError, doing
from streamd.host.whole_file import phrase, write_whole
from streamd.jobs.inputs import read_picture_file
from streamd.jobs.picture import depth_of_picture
from streamd.jobs.progress import Progress

MAX_SIDE_BY_SIDE = 4
"""Each may hold a large picture, decoded."""


@dataclass(frozen=True)
class Task:
    """One picture: a file, and the file that its depth goes to."""

    image: str
    output: Path


def plan(images: Sequence[str], folder: Path, format: PictureFormat) -> list[Task]:
    """The names of the pictures stay, with the ending of the format. Makes ``folder`` where there is none.

    Raises UsageError when two would be written to one file, or one over a picture that is read; SinkError.
    """
    ending = "png" if format == "png16" else format
    by_output: dict[Path, str] = {}
    for image in images:
        output = folder / f"{Path(image).stem}.{ending}"
        if output in by_output:
            both = f"{redact_source(by_output[output])} and {redact_source(image)}"
            raise UsageError(f"{output}: would be made of both {both}: rename one, or take turns")
        by_output[output] = image
    read = _identities(images)
    for output in by_output:
        if _identities([str(output)]) & read:
            raise UsageError(f"{output}: is one of the pictures themselves: name another folder, or --format")
    with named_in_errors(folder):
        folder.mkdir(exist_ok=True)
    return [Task(image, output) for output, image in by_output.items()]


def _identities(paths: Sequence[str]) -> set[tuple[int, int]]:
    """Of those that are there."""
    found = set()
    for path in paths:
        try:
            status = os.stat(path)
        except OSError:
            continue
        found.add((status.st_dev, status.st_ino))
    return found


def depth_of_pictures(
    tasks: Sequence[Task],
    service: DepthService,
    view: View,
    format: PictureFormat,
    *,
    report: Callable[[StreamdError], str],
    file: TextIO | None = None,
) -> int:
    """How many failed: each is one line, by ``report``, and the others are made all the same. Ctrl-C ends it when
    those under way are done. ``file`` is where progress goes, standard error unless given."""
    with Progress(len(tasks), "pictures", file=file) as progress:
        return _Batch(tasks, service, view, format, report, progress).run()


class _Batch:
    """Some threads that take the next picture until none is left."""

    def __init__(
        self,
        tasks: Sequence[Task],
        service: DepthService,
        view: View,
        format: PictureFormat,
        report: Callable[[StreamdError], str],
        progress: Progress,
    ) -> None:
        self._count = len(tasks)
        self._left = iter(tasks)
        self._service, self._view, self._format = service, view, format
        self._report, self._progress = report, progress
        self._lock = threading.Lock()
        self._stopping = False
        self._failed = 0

    def run(self) -> int:
        side_by_side = min(len(os.sched_getaffinity(0)), MAX_SIDE_BY_SIDE, self._count)
        workers = [threads.start(f"picture-{number}", self._work) for number in range(side_by_side)]
        try:
            for worker in workers:
                worker.finished.result()
        finally:
            self._stopping = True
            for worker in workers:
                worker.join()
        return self._failed

    def _next(self) -> Task | None:
        with self._lock:
            return None if self._stopping else next(self._left, None)

    def _work(self) -> None:
        while (task := self._next()) is not None:
            with doing(f"making {task.output} of {task.image}"):
                try:
                    self._make(task)
                except StreamdError as error:
                    with self._lock:
                        self._failed += 1
                    self._progress.say(self._report(error))
            self._progress.step()

    def _make(self, task: Task) -> None:
        with naming(task.image):
            made = depth_of_picture(read_picture_file(task.image), self._service, self._view, self._format)
        with named_in_errors(task.output):
            write_whole(task.output, made)


@contextmanager
def naming(image: str) -> Iterator[None]:
    """Errors of the block say which picture they are of."""
    try:
        yield
    except SourceError:  # says it
        raise
    except PictureError as error:
        raise PictureError(f"{redact_source(image)}: {error}") from None
    except InferenceFailed as error:
        raise InferenceFailed(error.reason, f"{redact_source(image)}: {error.detail}") from None


@contextmanager
def named_in_errors(output: Path) -> Iterator[None]:
    """An OSError of the block becomes a SinkError that says where."""
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise SinkError(f"{output}: {phrase(error)}") from None
