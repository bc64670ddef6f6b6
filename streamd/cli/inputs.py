"""The files that commands take."""

from __future__ import annotations

from streamd.config.address import SourceAddress, SourceKind, as_file, as_it_is
from streamd.config.redact import redact_source, shorten
from streamd.errors import UsageError


def file_named(text: str) -> str:
    """The path of an INPUT, as a source: a file of any name, with or without ``file:``; ``-`` is standard input."""
    if text == "-":
        return "/dev/stdin"
    shown = shorten(redact_source(text), 80)
    try:
        address = SourceAddress.parse(as_it_is(text))
    except ValueError as error:
        raise UsageError(f"{shown}: {error}") from None
    if address.kind is not SourceKind.FILE:
        raise UsageError(f"{shown}: is no file: `streamd run` takes cameras and addresses")
    return as_file(address.path)
