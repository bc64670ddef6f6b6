from __future__ import annotations

import pytest

from streamd.config.sections import View
from streamd.media.hub import Rendition
from streamd.render.notice import Notice
from streamd.streams.notices import NOTICE_EVERY_S, NOTICE_SIZE, Notices


def test_due_at_once_and_then_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    notices = Notices(None)
    assert notices.due_in_s <= 0
    notices.published()
    assert notices.due_in_s == NOTICE_EVERY_S
    now[0] += NOTICE_EVERY_S
    assert notices.due_in_s <= 0


@pytest.mark.parametrize(
    ("view", "kind", "source", "max_height", "size"),
    [
        ("depth", "", None, None, NOTICE_SIZE),
        ("depth", "", (1280, 720), None, (1280, 720)),
        ("depth", "", (1280, 720), 360, (640, 360)),
        ("depth", "light", (1280, 720), None, (640, 360)),
        ("depth", "half", (1280, 720), None, (640, 360)),
        ("side-by-side", "", (1280, 720), None, (2560, 720)),
        ("rgbd", "light", (1280, 720), None, (1280, 360)),
    ],
)
def test_as_large_as_the_pictures(
    view: View, kind: str, source: tuple[int, int] | None, max_height: int | None, size: tuple[int, int]
) -> None:
    rendition = Rendition(view, light=kind == "light", half=kind == "half")
    picture = Notices(max_height).draw(Notice("NO SIGNAL"), rendition, source)
    assert (picture.width, picture.height) == size
