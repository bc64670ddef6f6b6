"""Decoding on a graphics card or a codec chip, where there is one."""

from __future__ import annotations

import logging
from functools import lru_cache

import av
import av.error
from av.codec.hwaccel import HWAccel

log = logging.getLogger(__name__)


def hwaccel_device(kind: str, name: str) -> HWAccel | None:
    """For av.open; None to decode in software. ``kind`` as in StreamConfig.hwaccel.

    Tried before opening: av.open itself fails when there is no device, even with
    ``allow_software_fallback`` (PyAV 18).
    """
    if kind == "none":
        return None
    accel = HWAccel(kind, allow_software_fallback=True)
    try:
        accel.create(av.Codec("h264", "r"))
    except NotImplementedError:  # not for H.264; there may be another codec
        return accel
    except (av.error.FFmpegError, OSError) as error:
        log_once(name, f"no {kind} device to decode on ({error.strerror}); decoding in software")
        return None
    return accel


@lru_cache(maxsize=256)
def log_once(name: str, text: str) -> None:
    """One line for a source, however often it is opened."""
    log.warning("%s: %s", name, text)
