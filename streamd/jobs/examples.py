"""Pictures of what a command works on, as its network sees them: an int8 network is made of them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from contextlib import closing
from itertools import islice
from pathlib import Path

import numpy as np

from streamd.config.sections import StreamConfig
from streamd.depth.int8.scenes import MAX_TAKES, Take
from streamd.depth.models import Preprocessing
from streamd.depth.preprocess import VideoPreprocessor, still_input
from streamd.errors import StreamdError
from streamd.jobs.inputs import read_picture_file
from streamd.render.picture_reader import read_picture
from streamd.sources.file import FileSource

EVERY = 30
"""Frames of a film from a take to the next."""


def of_film(path: str, how: Preprocessing) -> list[Take]:
    """Of its first minute or so. The film is one scene. Raises SourceError."""
    preprocess, takes = VideoPreprocessor(), []
    source = FileSource(StreamConfig(source=path, realtime=False), threading.Event())
    planes = []
    with closing(source.frames()) as frames:
        for number, frame in enumerate(islice(frames, EVERY * MAX_TAKES)):
            if number % EVERY < 2:
                planes.append(preprocess(frame, how)[0])
            if number % EVERY == 1:
                pair, planes = planes, []
                if pair[0].shape == pair[1].shape:
                    takes.append(Take(path, np.stack(pair)))
    return takes


def of_pictures(images: Sequence[str], how: Preprocessing) -> list[Take]:
    """Each is a scene; what is no file, or cannot be read, is left out."""
    takes = []
    for image in [image for image in images if Path(image).is_file()][: 2 * MAX_TAKES]:
        try:
            takes += of_picture(read_picture_file(image), image, how)
        except StreamdError:  # its turn comes, and with it the reason
            pass
    return takes


def of_picture(data: bytes, name: str, how: Preprocessing) -> list[Take]:
    """Raises PictureError."""
    return [Take(name, still_input(read_picture(data), how)[None])]
