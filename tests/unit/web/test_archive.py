"""The rest is in tests/integration/test_web_pictures.py."""

from __future__ import annotations

import pytest

from streamd.web.archive import Upload, entry_names


@pytest.mark.parametrize(
    ("given", "made"),
    [
        (["a.jpg", "b.png"], ["a.npz", "b.npz"]),
        (["a.jpg", "a.png", "A.jpg"], ["a.npz", "a-2.npz", "A-3.npz"]),
        ([None, "", ".jpg"], ["picture-1.npz", "picture-2.npz", "jpg.npz"]),
        (
            ["../../etc/passwd", "..", "C:\\photos\\a.jpg", "/"],
            ["passwd.npz", "picture-2.npz", "a.npz", "picture-4.npz"],
        ),
        (["a\0b\n.jpg", "x:y.jpg", "y" * 300], ["ab.npz", "xy.npz", "y" * 100 + ".npz"]),
        (["\u8cea.jpg"], ["\u8cea.npz"]),
    ],
)
def test_names(given: list[str | None], made: list[str]) -> None:
    assert entry_names([Upload(name, bytearray()) for name in given], "npz") == made


def test_no_picture_takes_the_place_of_the_errors() -> None:
    assert entry_names([Upload("errors.jpg", bytearray())], "txt") == ["errors-2.txt"]
