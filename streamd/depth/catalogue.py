"""What there is to choose from: each model with its weights, their fetch, and what was measured of it here."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from streamd.depth.fetcher import Fetch, ModelFetcher
from streamd.depth.profile import Profile, find_profile, profile_path
from streamd.depth.store import ModelStatus, ModelStore


@dataclass(frozen=True)
class Entry:
    """One model."""

    status: ModelStatus
    note: str
    """That of ``status``, without the folders of this machine."""
    profile: Profile | None
    """None: not measured on this machine yet."""
    fetch: Fetch | None
    """None: none was begun, or all of it is here."""


def catalogue(store: ModelStore, fetcher: ModelFetcher) -> list[Entry]:
    """Reads the disk: not for the event loop."""
    return [
        Entry(status, _note(store, status), _profile(store, status), fetcher.progress(status.spec.name))
        for status in store.status()
    ]


def _note(store: ModelStore, status: ModelStatus) -> str:
    note = status.note.replace(f"{store.data}{os.sep}", "")
    origin = status.receipt.origin if status.receipt else ""
    return note.replace(origin, Path(origin).name) if origin.startswith(os.sep) else note


def _profile(store: ModelStore, status: ModelStatus) -> Profile | None:
    return find_profile(profile_path(store.cache, status.spec, status.sha256)) if status.sha256 else None
