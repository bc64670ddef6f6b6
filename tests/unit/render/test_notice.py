from __future__ import annotations

import numpy as np
import pytest

from streamd.media.frames import yuv_planes
from streamd.render.notice import BACKGROUND, Notice, draw_notice


@pytest.mark.parametrize("size", [(2, 2), (64, 48), (640, 360), (1280, 360), (3840, 2160), (108, 192)])
@pytest.mark.parametrize("detail", ["", "connection refused", "a reason of many words, " * 20, "straße 日本\n%s"])
def test_any_size_and_any_text_is_drawn_within_the_picture(size: tuple[int, int], detail: str) -> None:
    picture = draw_notice(Notice("NO SIGNAL", detail), *size)
    y, u, v = yuv_planes(picture)
    assert (picture.width, picture.height) == size
    assert (u == 128).all()
    assert (v == 128).all()
    if min(size) >= 48:
        assert np.percentile(y, 50) == BACKGROUND
        assert y.max() > 100
        edge = max(1, size[0] // 40)
        assert (y[:, :edge] == BACKGROUND).all(), "letters touch the edge"
        assert (y[:, -edge:] == BACKGROUND).all(), "letters touch the edge"
