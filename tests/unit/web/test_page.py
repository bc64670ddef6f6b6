from __future__ import annotations

import json
import re
from hashlib import sha256
from pathlib import Path

import pytest
from aiohttp import web

from streamd.web.page import FOR_ANY_PAGE, STATIC, WITH_CAMERA, Files

VENDOR = Path(__file__).parents[3] / "requirements" / "page"


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


def test_what_is_vendored_is_what_was_copied() -> None:
    """`make vendor` writes both, from what npm has checked by its lock."""
    lock = json.loads((VENDOR / "package-lock.json").read_text())
    digests = [line.split() for line in (VENDOR / "vendored.sha256").read_text().splitlines()]
    assert {name for _, name in digests} == {
        path.name for path in STATIC.glob("three.*") if not path.name.endswith(".d.ts")
    }
    for digest, name in digests:
        assert sha256((STATIC / name).read_bytes()).hexdigest() == digest, f"{name}: run `make vendor`"
    version = lock["packages"]["node_modules/three"]["version"]
    revision = version.split(".")[1]
    assert f'"{revision}"' in (STATIC / "three.core.min.js").read_text(), "another version is locked: run `make vendor`"


def test_nothing_of_the_page_needs_eval_or_another_host() -> None:
    """The policy would refuse it, in the middle of something."""
    for name, file in Files.read().items():
        if name.endswith(".js"):
            text = file.body.decode()
            assert not re.search(r"\bnew Function\b|\beval\(", text), name
            elsewhere = r"""^import\b[^'"]*["'](?!\./)|^export\b[^'"=(]*\bfrom\s*["'](?!\./)|\bimport\(\s*["'](?!\./)"""
            assert not re.search(elsewhere, text, re.MULTILINE), name


def test_the_photo_page_alone_may_use_the_camera() -> None:
    answer = Files.read().answer("photo.html", WITH_CAMERA)
    assert answer.headers["Permissions-Policy"].startswith("camera=(self), microphone=()")
