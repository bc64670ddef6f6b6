"""What viewers see while there is no picture: NO SIGNAL and why, in the same session."""

from __future__ import annotations

from dataclasses import dataclass

import cv2

from streamd.media.frames import ByteImage, Picture, canvas, yuv_planes
from streamd.render.colormap import NEUTRAL

BACKGROUND, TITLE, DETAIL = 28, 210, 140
_FONT = cv2.FONT_HERSHEY_SIMPLEX


@dataclass(frozen=True)
class Notice:
    """A title of a word or two, and a line of explanation."""

    title: str
    detail: str = ""


def draw_notice(notice: Notice, width: int, height: int) -> Picture:
    """yuv420p of this (even) size, gray. Hershey fonts have ASCII only: all else shows as "?"."""
    picture = canvas(width, height)
    y, u, v = yuv_planes(picture)
    y[:], u[:], v[:] = BACKGROUND, NEUTRAL, NEUTRAL
    _centred(y, notice.title, height * 0.48, height / 9, TITLE)
    _centred(y, notice.detail, height * 0.62, height / 22, DETAIL)
    return picture


def _centred(luma: ByteImage, text: str, baseline_px: float, height_px: float, code: int) -> None:
    """Smaller where it would not fit."""
    text = text.encode("ascii", "replace").decode()
    thickness = max(1, round(height_px / 14))
    scale = cv2.getFontScaleFromHeight(_FONT, max(6, round(height_px)), thickness)
    width = luma.shape[1]
    needed = cv2.getTextSize(text, _FONT, scale, thickness)[0][0]
    if needed > 0.92 * width:
        scale *= 0.92 * width / needed
        needed = round(0.92 * width)
    cv2.putText(luma, text, ((width - needed) // 2, round(baseline_px)), _FONT, scale, code, thickness, cv2.LINE_AA)
