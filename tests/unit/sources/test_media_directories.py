"""Files that the API may name, and links that lead out of where they may be."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from streamd.errors import SourceError, SourceRejected, SourceUnreachable
from streamd.sources.media_directories import MediaDirectories


@pytest.fixture
def media(tmp_path: Path) -> Path:
    folder = tmp_path / "media"
    (folder / "deep").mkdir(parents=True)
    (folder / "a.mp4").write_bytes(b"video")
    (tmp_path / "secret.mp4").write_bytes(b"secret")
    return folder


def content(media: Path, path: Path) -> bytes:
    with MediaDirectories([media]).opened(str(path), "cam") as file:
        return os.read(file, 100)


def reason(media: Path, path: Path) -> str:
    with pytest.raises(SourceError) as caught:
        content(media, path)
    return caught.value.reason


def test_its_files_are_opened(media: Path) -> None:
    assert content(media, media / "a.mp4") == b"video"


def test_links_within_it_are_followed(media: Path) -> None:
    (media / "deep" / "b.mp4").symlink_to(media / "a.mp4")
    assert content(media, media / "deep" / "b.mp4") == b"video"


def test_the_directory_itself_may_be_a_link(media: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(media)
    assert content(tmp_path / "link", tmp_path / "link" / "a.mp4") == b"video"


@pytest.mark.parametrize("target", ["../secret.mp4", "{}/secret.mp4"])
def test_links_out_of_it_are_not(media: Path, tmp_path: Path, target: str) -> None:
    (media / "b.mp4").symlink_to(target.format(tmp_path))
    assert reason(media, media / "b.mp4") == "leads out of server.media_directories by a link"


def test_a_linked_folder_is_not(media: Path, tmp_path: Path) -> None:
    (media / "out").symlink_to(tmp_path)
    assert reason(media, media / "out" / "secret.mp4") == "leads out of server.media_directories by a link"


def test_a_link_that_changes_between_opening_and_checking(
    media: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = media / "b.mp4"
    link.symlink_to(tmp_path / "secret.mp4")
    real = os.path.realpath

    def swap(path: str) -> str:
        if path == str(link):
            link.unlink(missing_ok=True)
            link.symlink_to(media / "a.mp4")
        return real(path)

    monkeypatch.setattr(os.path, "realpath", swap)
    assert reason(media, link) == "leads out of server.media_directories by a link"


def test_what_is_no_regular_file(media: Path) -> None:
    os.mkfifo(media / "fifo")
    assert reason(media, media / "fifo") == "is not a regular file", "and nobody waits for its writer"
    assert reason(media, media / "deep") == "is not a regular file"


def test_what_is_missing(media: Path) -> None:
    with pytest.raises(SourceUnreachable, match="no such file or directory"):
        content(media, media / "none.mp4")


def test_what_may_not_be_read(media: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(SourceRejected, match="permission denied"):
        content(media, media / "a.mp4")


def test_no_descriptor_is_left(media: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for name in ("a.mp4", "deep", "none"):
        try:
            content(media, media / name)
        except SourceError:
            pass
    assert len(os.listdir("/proc/self/fd")) == before
