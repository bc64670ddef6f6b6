"""Frames of the built-in clip, as a network would see them live."""

from __future__ import annotations

from importlib import resources

import av
import numpy as np

from streamd.depth.models.base import Preprocessing
from streamd.depth.preprocess import VideoPreprocessor
from streamd.media.frames import FloatImage


def clip_inputs(how: Preprocessing, takes: int, length: int = 1) -> FloatImage:
    """(takes, length, 3, h, w) float32: runs of frames, spread over the clip."""
    preprocess = VideoPreprocessor()
    with resources.as_file(resources.files("streamd") / "assets" / "demo.mp4") as clip, av.open(str(clip)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        step = stream.frames // takes
        frames = [
            preprocess(frame, how)[0] for index, frame in enumerate(container.decode(stream)) if index % step < length
        ]
    planes = np.stack(frames[: takes * length])
    return planes.reshape(takes, length, *planes.shape[1:])
