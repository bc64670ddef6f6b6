"""What to show of a live stream that arrives corrupt.

How FFmpeg reports corruption (measured, FFmpeg 8, packets cut, flipped and lost; no error concealment is good
enough to measure depth on):

- H.264, part of a picture wrong or lost (a slice, some RTP packets over UDP): the picture is concealed and flagged,
  or nothing is left of it and decoding raises. Those after it, which refer to it, bear NO flag.
- H.264, a whole picture lost: not flagged at all, the next one is drawn on top of what there is. Only a transport
  that counts its packets shows it, as MPEG-TS does on the packet; RTP's depacketizer does not.
- H.265: refuses all up to the next keyframe by itself, silently; bits flipped inside a slice go unseen.
- MJPEG: never flagged, only a broken header raises; every picture is a keyframe, so the next one is good.

Hence: from the first sign up to the next sound keyframe nothing is to be trusted.
"""

from __future__ import annotations


class CorruptionFilter:
    """Rejects pictures from the first sign of corruption to the next sound keyframe.

    At most for ``patience_s``: a camera with intra-refresh has no keyframes, and its pictures become whole again over
    time; one with a keyframe a minute is better seen smeared than not at all. From then on, until a keyframe comes,
    only what is flagged itself is left out.
    """

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._corrupt_since: float | None = None

    def note_corruption(self, now_s: float) -> None:
        """A packet or picture was corrupt."""
        if self._corrupt_since is None:
            self._corrupt_since = now_s

    def accepts(self, now_s: float, *, keyframe: bool, corrupt: bool) -> bool:
        """Whether to show a picture."""
        if corrupt:
            self.note_corruption(now_s)
            return False
        if keyframe:
            self._corrupt_since = None
        return self._corrupt_since is None or now_s - self._corrupt_since > self._patience_s
