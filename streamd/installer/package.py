"""What is installed: the code that this command comes from, the lock of its dependencies, the shipped files."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import streamd
from streamd import __version__
from streamd.errors import StreamdError

_CHECKOUT = Path(streamd.__file__).resolve().parents[1]
"""If it is one."""
_SOURCES = ("pyproject.toml", "README.md", "LICENSE", "THIRD-PARTY-NOTICES.md", "requirements", "streamd", "systemd")
"""What pip builds streamd from."""
RUN, TORCH = LOCKS = "requirements/run.lock", "requirements/torch.lock"
"""torch has a lock of its own: few need it, and builds from another index have other digests."""


def source() -> Path | str:
    """What this command itself comes from: a checkout, or what pip understands."""
    if (_CHECKOUT / "pyproject.toml").is_file():
        return _CHECKOUT
    try:
        direct = json.loads(importlib.metadata.distribution("streamd").read_text("direct_url.json") or "{}")
    except (importlib.metadata.PackageNotFoundError, ValueError):
        direct = {}
    if vcs := direct.get("vcs_info"):
        return f"{vcs['vcs']}+{direct['url']}@{vcs['commit_id']}"
    return str(direct.get("url") or f"streamd=={__version__}")


def fingerprint() -> str:
    """Two words: the first is the same for the same code, whichever way it came, the second for the same lock."""
    code, digest = Path(streamd.__file__).parent, hashlib.sha256()
    for file in sorted(code.rglob("*")):
        if file.is_file() and file.suffix != ".pyc":
            digest.update(f"{file.relative_to(code)}\0{sha256(file.read_bytes())}\n".encode())
    return f"{digest.hexdigest()} {sha256(b''.join(shipped(name).read_bytes() for name in LOCKS))}"


def copy_sources(checkout: Path, folder: Path) -> Path:
    for file in _source_files(checkout):
        target = folder / file.relative_to(checkout)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    return folder


def _source_files(checkout: Path) -> Iterator[Path]:
    for name in _SOURCES:
        found = checkout / name
        yield from sorted(one for one in found.rglob("*") if one.is_file() and "__pycache__" not in one.parts)
        if found.is_file():
            yield found


def shipped(name: str) -> Path:
    """A file of systemd/ or requirements/: in the checkout, or where pip has put it. Raises StreamdError."""
    places = [_CHECKOUT / name, Path(sys.prefix) / "share" / "streamd" / name]
    for place in places:
        if place.is_file():
            return place
    raise StreamdError(f"{places[0]} and {places[1]}: neither is there: is streamd installed whole?")


def torch_requirements() -> list[str]:
    """``torch==VERSION`` and what goes with it, as locked."""
    text = shipped(TORCH).read_text()
    return re.findall(r"^(?:timm|torch|torchvision)==[^\s;]+", text, re.MULTILINE)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
