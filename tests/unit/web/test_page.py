from __future__ import annotations

import pytest
from aiohttp import web

from streamd.web.page import FOR_ANY_PAGE, WITH_CAMERA, Files


def test_the_files_of_the_page() -> None:
    files = Files.read()
    answer = files.answer("index.html")
    assert (answer.content_type, answer.charset) == ("text/html", "utf-8")
    assert answer.headers["Cache-Control"] == "no-cache"
    assert files.answer("app.js").content_type == "text/javascript"


@pytest.mark.parametrize("name", ["", "nothing.js", "../app.py", "static/app.js"])
def test_no_other_file(name: str) -> None:
    with pytest.raises(web.HTTPNotFound):
        Files.read().answer(name)


def test_what_any_page_may_frame() -> None:
    answer = Files.read().answer("embed.html", FOR_ANY_PAGE)
    assert answer.headers["Content-Security-Policy"].endswith("frame-ancestors *")


def test_the_photo_page_alone_may_use_the_camera() -> None:
    answer = Files.read().answer("photo.html", WITH_CAMERA)
    assert answer.headers["Permissions-Policy"].startswith("camera=(self), microphone=()")
