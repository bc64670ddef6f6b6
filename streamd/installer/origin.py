"""What the service is made of: the code that this command comes from, a Python, the shipped files."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import streamd
from streamd import __version__
from streamd.errors import StreamdError
from streamd.installer.site import Site

_CHECKOUT = Path(streamd.__file__).resolve().parents[1]
"""If it is one."""
_SYSTEM_PYTHON = Path("/usr/bin/python3")
_UNIT_PYTHON = "/opt/streamd/.venv/bin/python"
_UNIT_GROUPS = "SupplementaryGroups=video render"
_IS_FIT = "import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))"
_SOURCES = ("pyproject.toml", "README.md", "LICENSE", "THIRD-PARTY-NOTICES.md", "streamd", "systemd")
"""What pip builds streamd from."""


def package() -> Path | str:
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


def fingerprint_of(wanted: Path | str) -> str:
    """Two words: the first is the same for the same code, whichever way it came, the second for the same needs."""
    code, digest = Path(streamd.__file__).parent, hashlib.sha256()
    for file in sorted(code.rglob("*")):
        if file.is_file() and file.suffix != ".pyc":
            digest.update(f"{file.relative_to(code)}\0{sha256_of(file.read_bytes())}\n".encode())
    needs = (wanted / "pyproject.toml").read_bytes() if isinstance(wanted, Path) else wanted.encode()
    return f"{digest.hexdigest()} {sha256_of(needs)}"


def _files(checkout: Path) -> Iterator[Path]:
    for name in _SOURCES:
        found = checkout / name
        yield from sorted(one for one in found.rglob("*") if one.is_file() and "__pycache__" not in one.parts)
        if found.is_file():
            yield found


def copy_of(checkout: Path, folder: Path) -> Path:
    for file in _files(checkout):
        target = folder / file.relative_to(checkout)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    return folder


def shipped(name: str) -> str:
    """A file of systemd/: in the checkout, or where pip has put it."""
    places = [_CHECKOUT / "systemd", Path(sys.prefix) / "share" / "streamd" / "systemd"]
    for place in places:
        if (place / name).is_file():
            return (place / name).read_text()
    raise StreamdError(f"{name} is neither in {places[0]} nor in {places[1]}: is streamd installed whole?")


def unit_for(text: str, interpreter: Path, groups: set[str] | None) -> str:
    """The shipped unit for this environment. A group that a machine does not have would keep the
    service from starting: a box without graphics has no ``render``. None: who knows."""
    names = [name for name in ("video", "render") if groups is None or name in groups]
    line = (
        f"SupplementaryGroups={' '.join(names)}"
        if names
        else "# SupplementaryGroups: there is neither video nor render"
    )
    assert _UNIT_PYTHON in text
    assert _UNIT_GROUPS in text
    return text.replace(_UNIT_PYTHON, str(interpreter)).replace(_UNIT_GROUPS, line)


def groups_in(file: Path) -> set[str] | None:
    try:
        return {line.partition(":")[0] for line in file.read_text().splitlines()}
    except OSError:
        return None


def find_python(site: Site) -> Path:
    """A Python that a service can see: ProtectHome hides those in home directories. Raises StreamdError."""
    own = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
    for candidate in (own, _SYSTEM_PYTHON):
        if not candidate.exists() or candidate.resolve().parts[1] in ("home", "root", "run"):
            continue
        if not site.run([str(candidate), "-c", _IS_FIT]).returncode:
            return candidate
    raise StreamdError(
        "no Python 3.11 or newer with venv (sudo apt-get install python3-venv) that services can see, "
        f"as they cannot {own}: name one by --python"
    )


def sha256_of(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
