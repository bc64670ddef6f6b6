"""Which of a container's video streams is the video."""

from __future__ import annotations

import re

from av.container import InputContainer
from av.stream import Discard, Disposition
from av.video.stream import VideoStream

_PICTURES = Disposition.attached_pic | Disposition.timed_thumbnails
"""The cover of a song, the pictures of chapters."""
_SECONDARY = Disposition.still_image | Disposition.dependent
_PICTURE_CODECS = ("bmp", "gif", "mjpeg", "png", "tiff", "webp")
_BRIEF = re.compile(r"00:00:(\d\d\.\d+)")
_DEFAULT_PX = 5_000_000
"""What the default stream has ahead of others, as in ``map_auto_video`` of ffmpeg(1)."""


def choose_video(container: InputContainer) -> VideoStream | None:
    """What ffmpeg(1) takes: the largest, with an advantage for the default one, the first of equals. Before that,
    what moves: drones put a thumbnail into a track of its own. None: there is no video, at most a cover.

    One that is discarded is not taken; one that cannot be decoded, with ``codec_context`` None, only when all are so.
    """
    videos = [video for video in container.streams.video if video.discard != Discard.all and not _is_cover(video)]
    decodable = [video for video in videos if video.codec_context is not None]
    return max(decodable, key=_rank, default=next(iter(videos), None))


def _is_cover(video: VideoStream) -> bool:
    """One picture beside sound is a cover, also where the container does not say so."""
    if video.disposition & _PICTURES:
        return True
    is_picture = video.codec_context is not None and video.codec_context.name in _PICTURE_CODECS
    return is_picture and not _moves(video) and bool(video.container.streams.audio)


def _rank(video: VideoStream) -> tuple[bool, int]:
    pixels = video.codec_context.width * video.codec_context.height
    return _moves(video), pixels + _DEFAULT_PX * bool(video.disposition & Disposition.default)


def _moves(video: VideoStream) -> bool:
    """False where the header tells of one picture: MP4 counts them, Matroska may say when they end."""
    end = _BRIEF.fullmatch(video.metadata.get("DURATION", ""))
    single = video.frames == 1 or (end is not None and float(end[1]) * (video.average_rate or 25) < 2)
    return not (single or video.disposition & _SECONDARY)
