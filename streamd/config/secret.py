"""Secrets that are not in the configuration, but in the environment or a file."""

from __future__ import annotations

import os
from pathlib import Path

_LONGEST_BYTES = 4096


def read_secret(text: str, what: str = "secret") -> str:
    """``env:NAME`` or ``file:PATH`` (its first line), read anew each time; any other text is the secret itself.

    systemd's LoadCredential= puts files into $CREDENTIALS_DIRECTORY: a relative PATH is read from there. Bytes
    that are no UTF-8 come back as surrogates, as those of file names do. Raises ValueError, whose text names the
    variable or the file and calls what is missing ``what``, and never shows any of it.
    """
    kind, colon, place = text.partition(":")
    if colon and kind == "env":
        return _from_environment(place, what)
    if colon and kind == "file":
        return _from_file(place, what)
    return text


def _from_environment(variable: str, what: str) -> str:
    value = os.environ.get(variable)
    if not value:
        raise ValueError(f"the environment variable {variable} with its {what} is not set")
    return value


def _from_file(place: str, what: str) -> str:
    path = Path(os.environ.get("CREDENTIALS_DIRECTORY", ""), place)
    try:
        with path.open("rb") as file:
            line = file.readline(_LONGEST_BYTES).rstrip(b"\r\n")
    except OSError as error:
        raise ValueError(f"cannot read its {what} from {path}: {error.strerror}") from None
    if not line:
        raise ValueError(f"there is no {what} in {path}")
    return os.fsdecode(line)
