"""What the file formats that endings name can hold. FFmpeg's muxers are asked: they write a header to nowhere."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import av
import av.error
from av.audio.stream import AudioStream
from av.bitstream import BitStreamFilterContext
from av.container import OutputContainer
from av.format import Flags
from av.stream import Stream

from streamd.errors import SinkError
from streamd.media.depth16 import ENDING

Sound = AudioStream

_ADVICE = "use .mp4 or .mkv"
_FOR_SOUND = (".mp4", ".mkv", ".mov", ".ts", ".nut")
_PLAYED = {
    "mp4": ("aac", "ac3", "alac", "dts", "eac3", "flac", "mp2", "mp3", "opus", "truehd"),
    "mpegts": ("aac", "aac_latm", "ac3", "dts", "eac3", "mp2", "mp3", "opus", "truehd"),
    "flv": ("aac", "mp3"),
}
"""Other sound is written in ways that few players know, such as PCM in MP4; into FLV it may abort the process."""

_CANNOT = (ValueError, OSError, av.error.FFmpegError)


class _Nowhere(io.BytesIO):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        """By which FFmpeg chooses the muxer."""


def check_ending(output: Path) -> None:
    """Raises SinkError unless its ending names a format of one file that holds H.264 and the times of pictures."""
    ending = output.suffix or "(none)"
    try:
        with av.open(_Nowhere(f"x{output.suffix}"), "w") as container:
            format = container.format
            if format.no_file or (
                format.flags & cast(int, Flags.no_timestamps.value) and container.default_video_codec != "h264"
            ):
                raise ValueError
            _begin(container, ())
    except _CANNOT as error:
        if "output format" in str(error):
            raise SinkError(f"{output}: the ending {ending} names no video format: {_ADVICE}") from None
        raise SinkError(f"{output}: the ending {ending} names a format that cannot hold H.264: {_ADVICE}") from None


def check_depth16_ending(output: Path) -> None:
    """Raises SinkError."""
    if output.suffix.lower() != ENDING:
        raise SinkError(f"{output}: depth16 goes into Matroska: name the output {ENDING}")


def fitting(output: Path, sounds: Sequence[Sound]) -> list[Sound]:
    """Those that the output can hold and players read; the others fit nowhere.

    Raises SinkError, with the ending to use, when another one would hold more of them.
    """
    known = [sound for sound in sounds if sound.codec_context is not None]
    fits = [sound for sound in known if holds(output.suffix, sound)]
    missing = next((sound for sound in known if sound not in fits), None)
    if missing is None:
        return fits
    for ending in _FOR_SOUND:
        if all(holds(ending, sound) for sound in [*fits, missing]):
            raise SinkError(f"{output}: cannot hold {codec_of(missing)} audio: name the output {ending}")
    return fits


def codec_of(sound: Sound) -> str:
    return (
        "in a codec that FFmpeg does not know"
        if sound.codec_context is None
        else sound.codec_context.codec.canonical_name
    )


def holds(ending: str, sound: Sound) -> bool:
    """Whether it can be copied beside H.264 in such a file."""
    codec = codec_of(sound)
    try:
        with av.open(_Nowhere(f"x{ending}"), "w") as container:
            format = container.format.name
            if codec not in _PLAYED.get(format, (codec,)):
                return False
            _begin(container, [sound])
    except _CANNOT:
        return False
    return True


def add_copy(container: OutputContainer, sound: Sound) -> Stream:
    """A stream for its packets as they are. Raises ValueError, FFmpegError where the format cannot.

    Not by ``add_stream_from_template`` alone: it refuses what FFmpeg writes, such as G.711 in Matroska. MPEG-TS takes
    everything, and a filter that does nothing carries the parameters over.
    """
    with av.open(io.BytesIO(), "w", format="mpegts") as anything:
        parameters = anything.add_stream_from_template(sound)
        copy = container.add_mux_stream(container.default_audio_codec)
        BitStreamFilterContext("null", parameters, copy)
    assert sound.time_base is not None
    copy.time_base = sound.time_base
    copy.disposition = sound.disposition
    copy.metadata.update({key: sound.metadata[key] for key in ("language", "title") if key in sound.metadata})
    return copy


def _begin(container: OutputContainer, sounds: Sequence[Sound]) -> None:
    """Writes the header. Raises _CANNOT."""
    video = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
    video.width, video.height, video.pix_fmt = 64, 64, "yuv420p"
    for sound in sounds:
        add_copy(container, sound)
    container.start_encoding()
