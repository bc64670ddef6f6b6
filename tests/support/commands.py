"""Commands within this process."""

from __future__ import annotations

from streamd.cli import main


def outcome(*arguments: str) -> int:
    """The exit code, however it comes."""
    try:
        return main(list(arguments))
    except SystemExit as ended:
        return int(ended.code or 0)
