"""Packages, codecs and networks."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterator
from typing import Literal

from streamd.config.sections import Config, is_manifest
from streamd.doctor.finding import Finding, Status
from streamd.errors import ConfigError

DECODERS = {"h264": "H.264", "hevc": "H.265", "mjpeg": "Motion JPEG", "vp9": "VP9", "av1": "AV1"}
ENCODER = "libx264"
REINSTALL = "pip install --force-reinstall --no-cache-dir av"


def packages(config: Config) -> Iterator[Finding]:
    """Torch and most others are only looked up: to load them takes seconds and much memory."""
    versions = {name: _version(name) for name in _required()}
    missing = [name for name, version in versions.items() if version is None]
    found = ", ".join(f"{name} {version}" for name, version in versions.items() if version)
    if not versions:
        yield Finding("packages", "warning", "streamd runs from its sources, not installed", "pip install .")
    elif missing:
        advice = f"pip install {' '.join(missing)}"
        yield Finding("packages", "problem", f"missing: {', '.join(missing)}", advice, versions)
    else:
        yield Finding("packages", "ok", found, details=versions)
    yield _openvino()


def _required() -> list[str]:
    try:
        requirements = importlib.metadata.requires("streamd") or []
    except importlib.metadata.PackageNotFoundError:
        return []
    return [re.split(r"[^\w.-]", each)[0] for each in requirements if "extra ==" not in each]


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _openvino() -> Finding:
    try:
        from streamd.depth.ov import openvino

        return Finding("openvino", "ok", f"loads: {openvino.get_version()}")
    except Exception as error:  # a library that it wants, a kernel that it does not
        advice = 'pip install --upgrade openvino, or set model.runtime = "torch"'
        return Finding("openvino", "problem", f"does not load: {error}", advice)


def codecs(config: Config) -> Iterator[Finding]:
    import av

    missing = [name for code, name in DECODERS.items() if not _has_codec(code, "r")]
    has = ", ".join(name for name in DECODERS.values() if name not in missing)
    found = f"PyAV {av.__version__} decodes {has or 'nothing'}"
    if missing:
        yield Finding("codecs", "warning", f"{found}; not {', '.join(missing)}", REINSTALL)
    else:
        yield Finding("codecs", "ok", found)
    if _has_codec(ENCODER, "w"):
        yield Finding("codecs", "ok", f"encodes H.264 with {ENCODER}")
    else:
        yield Finding("codecs", "problem", f"has no {ENCODER}: nothing can be published", REINSTALL)
    lacking = [name for name, there in {"rtsp": "rtsp" in av.formats_available, "tls": _has_tls()}.items() if not there]
    if lacking:
        yield Finding("codecs", "warning", f"no {' and no '.join(lacking)}: such cameras do not open", REINSTALL)
    else:
        yield Finding("codecs", "ok", "reads rtsp, and rtsps and https by TLS")


def _has_codec(name: str, mode: Literal["r", "w"]) -> bool:
    import av
    import av.codec

    try:
        av.codec.Codec(name, mode)
    except av.codec.codec.UnknownCodecError:
        return False
    return True


def _has_tls() -> bool:
    """PyAV has no list of FFmpeg's protocols; opening one that is missing raises ProtocolNotFoundError."""
    import av
    import av.error

    try:
        av.open("tls://127.0.0.1:1", timeout=1).close()
    except av.error.ProtocolNotFoundError:
        return False
    except (av.error.FFmpegError, OSError, ValueError):  # nothing listens there
        pass
    return True


def _manifest(path: str) -> Finding:
    from streamd.depth.models import find_model

    try:
        spec = find_model(path)
    except ConfigError as error:
        return Finding("models", "problem", "; ".join(map(str, error.problems)), "docs/models.md explains manifests")
    return Finding("models", "ok", f"{spec.name}: {spec.file}, by its manifest")


def models(config: Config) -> Iterator[Finding]:
    """Sizes only: `streamd models verify` reads the files."""
    from streamd.depth.store import ModelStore, default_directories

    wanted, fallback = config.model.name, config.model.fallback
    if is_manifest(wanted):
        yield _manifest(wanted)
    for status in ModelStore(*default_directories()).status():
        name = status.spec.name
        found = f"{name}: {status.note}"
        if status.path is not None:
            yield Finding("models", "ok", found)
        elif status.receipt is not None:
            yield Finding("models", "problem", found, f"streamd models fetch {name}")
        elif name == wanted:
            severity: Status = "warning" if fallback and fallback != wanted else "problem"
            stands_in = f"; {fallback} stands in" if severity == "warning" else ""
            yield Finding("models", severity, f"{name}: not on this machine{stands_in}", f"streamd models fetch {name}")
