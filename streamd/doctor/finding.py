"""What a check hands back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from streamd.config.sections import Config

Status = Literal["ok", "warning", "problem"]


@dataclass(frozen=True)
class Finding:
    """One line of the report."""

    check: str
    status: Status
    found: str
    advice: str = ""
    """What to do about it."""
    details: Any = None
    """More for programs, ready for JSON."""


Check = Callable[[Config], Iterator[Finding]]
"""Checks one thing, which its name gives, and yields what it finds. Takes a second or two at most."""
