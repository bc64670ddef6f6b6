"""Which rendition a viewer gets: the full one, or the light one while its connection does not carry that."""

from __future__ import annotations

CONGESTED_S = 3.0
HEALTHY_S = 15.0
MAX_HEALTHY_S = 240.0
RELAPSE_S = 60.0
LOSS = 0.1
REMB_SHARE = 0.85
REMB_CLIMBS = 1.1
"""Within ``CONGESTED_S``; receivers raise theirs by 8 % a second (measured with Chromium)."""


class RenditionChoice:
    """Decides between the full rendition and the light one, from what the receiver reports.

    Congested is an estimate (REMB) below 0.85 of what is sent that does not climb, or a loss above
    10 %; for 3 s it moves the viewer to the light rendition, 15 s without moves it back. REMB is no
    absolute target: receivers cap it at 1.5 times what they get (measured with Chromium). So after a
    still scene, or NO SIGNAL, it is far below what is sent and climbs for half a minute, though
    nothing is wrong; and the way back is a try, and each relapse within a minute doubles the patience
    before the next one.
    """

    def __init__(self) -> None:
        self.light = False
        self._patience_s = HEALTHY_S
        self._since: float | None = None
        """Since when the reports have been in favour of the other rendition."""
        self._first_remb_bps = 0.0
        self._full_since = float("-inf")

    def report(self, now: float, *, remb_bps: float | None, lost: float, sent_bps: float) -> bool:
        """Takes one report: bits per second, and the share of packets lost since the last. Whether to change."""
        remb_bps = float("inf") if remb_bps is None else remb_bps
        congested = lost > LOSS or remb_bps < REMB_SHARE * sent_bps
        if congested == self.light:
            self._since = None
            return False
        if self._since is None:
            self._since, self._first_remb_bps = now, remb_bps
        if now - self._since < (self._patience_s if self.light else CONGESTED_S):
            return False
        if congested and lost <= LOSS and remb_bps > REMB_CLIMBS * self._first_remb_bps:
            self._since, self._first_remb_bps = now, remb_bps
            return False
        self._change(now)
        return True

    def _change(self, now: float) -> None:
        self.light, self._since = not self.light, None
        if not self.light:
            self._full_since = now
        elif now - self._full_since < RELAPSE_S:
            self._patience_s = min(2 * self._patience_s, MAX_HEALTHY_S)
        else:
            self._patience_s = HEALTHY_S
