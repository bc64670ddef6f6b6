"""Secrets from the environment and from files; the texts of errors name the place and nothing of what is in it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from streamd.config.secret import read_secret


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SECRET", " p@ss:w/rd ")
    monkeypatch.setenv("EMPTY", "")
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    (tmp_path / "secret").write_bytes("hünter2\r\nsecond line\n".encode())
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    (tmp_path / "empty").write_text("\nhunter2\n")
    return tmp_path


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("hunter2", "hunter2"),
        ("", ""),
        ("environment:SECRET", "environment:SECRET"),
        ("env", "env"),
        ("env:SECRET", " p@ss:w/rd "),
        ("file:{}/secret", "hünter2"),
    ],
)
def test_what_is_read(folder: Path, text: str, secret: str) -> None:
    assert read_secret(text.format(folder)) == secret


def test_bytes_that_are_no_text(folder: Path) -> None:
    assert os.fsencode(read_secret(f"file:{folder}/bytes")) == b"\xff\xfe"


def test_systemd_has_a_folder_for_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    assert read_secret("file:secret") == read_secret(f"file:{folder}/secret") == "hünter2"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("env:NONE", "the environment variable NONE with its token is not set"),
        ("env:EMPTY", "the environment variable EMPTY with its token is not set"),
        ("file:{}/none", "cannot read its token from {}/none: No such file or directory"),
        ("file:{}", "cannot read its token from {}: Is a directory"),
        ("file:{}/empty", "there is no token in {}/empty"),
    ],
)
def test_what_is_missing_is_named(folder: Path, text: str, reason: str) -> None:
    with pytest.raises(ValueError, match="token") as caught:
        read_secret(text.format(folder), "token")
    assert str(caught.value) == reason.format(folder)


def test_a_secret_that_is_asked_for_plainly(folder: Path) -> None:
    with pytest.raises(ValueError, match="with its secret is not set"):
        read_secret("env:NONE")
