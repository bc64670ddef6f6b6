"""The weights on this machine: built in, fetched or imported, each with a receipt of what it is.

``data/NAME/`` holds the receipt, ``manifest.json``, and the file that it names. The file's name holds its digest,
and it is in place before the receipt names it: an interrupted change leaves the last good state.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import streamd
from streamd.config.redact import redact
from streamd.depth.download import MAX_WEIGHTS_BYTES, Progress, discard, download
from streamd.depth.files import locked, one_line, sha256_of, write_json
from streamd.depth.models import MODELS, ModelSpec, find_model
from streamd.depth.models.manifest import network_files
from streamd.depth.profile import check_weights
from streamd.errors import DepthError, ModelMissing, UsageError, WeightsRejected
from streamd.host.whole_file import sync

Check = Callable[[ModelSpec, Path], None]
"""Raises WeightsRejected unless the file holds the network's weights."""

_LOCK_WAIT_S = 2.0
_PART = "download.part"


@dataclass(frozen=True)
class Receipt:
    """What is known of an installed file."""

    file: str
    sha256: str
    size: int
    origin: str
    """URL or path that it came from."""
    installed_at: str
    """ISO 8601, UTC."""
    official: bool | None
    """Whether the digest is the published one; None where none is published."""


@dataclass(frozen=True)
class ModelStatus:
    """One line of ``streamd models list``."""

    spec: ModelSpec
    path: Path | None
    """None when there are no usable weights."""
    receipt: Receipt | None
    note: str
    sha256: str | None = None
    """Of the weights at ``path``."""


@dataclass(frozen=True)
class Verification:
    """One line of ``streamd models verify``."""

    model: str
    ok: bool
    detail: str


def default_directories(environment: Mapping[str, str] = os.environ) -> tuple[Path, Path]:
    """(models, cache): below STREAMD_HOME, else systemd's directories, else by the XDG rules.

    Raises UsageError when none of them is set and the user has no home."""
    if home := environment.get("STREAMD_HOME"):
        return Path(home, "models"), Path(home, "cache")
    state = environment.get("STATE_DIRECTORY", "").split(":")[0]
    cache = environment.get("CACHE_DIRECTORY", "").split(":")[0]
    data = Path(state) if state else Path(environment.get("XDG_DATA_HOME") or _home(".local/share"), "streamd")
    return data / "models", Path(cache or Path(environment.get("XDG_CACHE_HOME") or _home(".cache"), "streamd"))


def _home(folder: str) -> Path:
    try:
        return Path.home() / folder
    except RuntimeError:  # as in a container whose user has no entry in /etc/passwd
        raise UsageError("this user has no home directory: set STREAMD_HOME or HOME") from None


class ModelStore:
    """Any thread, any number of processes: those that change something take turns."""

    def __init__(
        self, data: Path, cache: Path, *, models: Mapping[str, ModelSpec] = MODELS, check: Check = check_weights
    ) -> None:
        self.data = data
        self.cache = cache
        """For runtime artefacts: safe to delete."""
        self._models = models
        self._check = check

    def weights(self, name: str) -> tuple[Path, str]:
        """The file and its sha256. Raises ModelMissing, WeightsRejected when it is damaged, UsageError."""
        spec = self._spec(name)
        if spec.file is not None:
            with one_line(spec.file):
                return spec.file, sha256_of(*network_files(spec.file))
        if spec.embedded_weights:
            path = _asset(spec.embedded_weights)
            with one_line(path):
                return path, sha256_of(path)
        receipt = self._receipt(name)
        if receipt is None:
            raise ModelMissing(name, _hint(spec))
        path = self.data / name / receipt.file
        with one_line(path):
            found = path.stat().st_size if path.exists() else 0
        if found != receipt.size:
            raise WeightsRejected(str(path), f"{found:,} bytes are left of {receipt.size:,}; {_hint(spec)}")
        return path, receipt.sha256

    def status(self) -> list[ModelStatus]:
        """Every model that streamd knows. Reads no weights."""
        return [self._status(spec) for spec in self._models.values()]

    def fetch(self, name: str, progress: Progress) -> Receipt:
        """Downloads the official weights, carrying on what was begun, and installs them once they load.

        Where no digest is published, later downloads must have that of the first. Returns at once when they are
        here and whole. An exception from ``progress`` ends it and keeps what has come. Raises DepthError (offline,
        refused, disk full), WeightsRejected (wrong digest, does not load).
        """
        spec = self._spec(name)
        if spec.download is None:
            raise UsageError(f"model {name}: there is nothing to fetch; {_hint(spec)}")
        url = spec.download.url
        here = self._receipt(name)
        wanted = spec.download.sha256 or (here.sha256 if here and here.origin == redact(url) else "")
        if here and wanted and here.sha256.startswith(wanted) and self._intact(name, here):
            return here
        with self._changing(name) as home:
            part = home / _PART
            download(url, part, progress)
            digest = sha256_of(part)
            try:
                if not digest.startswith(wanted):
                    raise WeightsRejected(redact(url), _wrong_digest(spec, digest, wanted))
                self._try(spec, part, redact(url))
            except WeightsRejected:
                discard(part)
                raise
            receipt = self._install(spec, part, digest, redact(url), Path(urlsplit(url).path).suffix)
            discard(part)
            return receipt

    def import_file(self, name: str, file: Path) -> Receipt:
        """Installs a copy of a local file once it loads. It need not be the published one: see ``Receipt.official``.

        Raises DepthError (unreadable, disk full), WeightsRejected, UsageError for a built-in model.
        """
        spec = self._spec(name)
        if spec.embedded_weights:
            raise UsageError(f"model {name}: {_hint(spec)}")
        with self._changing(name) as home, tempfile.TemporaryDirectory(prefix=".import-", dir=home) as temporary:
            copy = Path(temporary, "weights")
            digest = _copy(file, copy)
            self._try(spec, copy, str(file))
            return self._install(spec, copy, digest, str(file.resolve()), file.suffix)

    def verify(self) -> list[Verification]:
        """Reads every file on this machine again: its digest against the receipt, and whether it loads."""
        present = [status.spec for status in self.status() if status.path or status.receipt]
        return [self._verification(spec) for spec in present]

    def _status(self, spec: ModelSpec) -> ModelStatus:
        receipt = None
        try:
            receipt = self._receipt(spec.name)
            path, sha256 = self.weights(spec.name)
        except ModelMissing as error:
            return ModelStatus(spec, None, None, f"missing: {error.hint}{_whence(spec)}")
        except DepthError as error:
            return ModelStatus(spec, None, receipt, f"damaged: {error}")
        return ModelStatus(spec, path, receipt, _origin_note(receipt), sha256)

    def _verification(self, spec: ModelSpec) -> Verification:
        try:
            path, sha256 = self.weights(spec.name)
            with one_line(path):
                if sha256_of(path) != sha256:
                    raise WeightsRejected(str(path), f"its sha256 is no longer {sha256[:8]}...; {_hint(spec)}")
            self._check(spec, path)
        except DepthError as error:
            return Verification(spec.name, False, str(error))
        return Verification(spec.name, True, f"sha256 {sha256}, loads, {_origin_note(self._receipt(spec.name))}")

    def _spec(self, name: str) -> ModelSpec:
        return self._models.get(name) or find_model(name)

    def _receipt(self, name: str) -> Receipt | None:
        """None also when it is unreadable: the model is to be installed again. Raises DepthError."""
        path = self.data / name / "manifest.json"
        with one_line(path):
            try:
                return Receipt(**json.loads(path.read_text()))
            except (FileNotFoundError, ValueError, TypeError):
                return None

    def _intact(self, name: str, receipt: Receipt) -> bool:
        path = self.data / name / receipt.file
        return path.exists() and path.stat().st_size == receipt.size and sha256_of(path) == receipt.sha256

    @contextmanager
    def _changing(self, name: str) -> Iterator[Path]:
        """The model's directory, for us alone."""
        home = self.data / name
        with one_line(home):
            home.mkdir(parents=True, exist_ok=True)
            with locked(home / ".lock", _LOCK_WAIT_S):
                yield home

    def _try(self, spec: ModelSpec, file: Path, called: str) -> None:
        try:
            self._check(spec, file)
        except WeightsRejected as error:
            raise WeightsRejected(called, error.reason) from error

    def _install(self, spec: ModelSpec, file: Path, sha256: str, origin: str, suffix: str) -> Receipt:
        """Moves the file in, names it in the receipt, removes what was there before."""
        home = self.data / spec.name
        official = spec.is_official(sha256)
        target = home / f"{spec.name}-{sha256[:16]}{suffix}"
        now = datetime.now(UTC).isoformat(timespec="seconds")
        receipt = Receipt(target.name, sha256, file.stat().st_size, origin, now, official)
        sync(file)
        file.replace(target)
        target.chmod(0o644)
        sync(home)
        write_json(home / "manifest.json", asdict(receipt))
        for old in home.glob(f"{spec.name}-*"):
            if old != target:
                old.unlink()
        return receipt


def _wrong_digest(spec: ModelSpec, found: str, wanted: str) -> str:
    if spec.download and spec.download.sha256:
        whose, advice = "the official file", ""
    else:
        whose, advice = "the first download", f"; if you trust it, streamd models import {spec.name} FILE"
    return f"its sha256 is {found[:8]}..., that of {whose} {wanted[:8]}...{advice}"


def _origin_note(receipt: Receipt | None) -> str:
    if receipt is None:
        return "built in"
    origin = f"from {receipt.origin}"
    return {True: "the official file, ", False: "not the official file, ", None: ""}[receipt.official] + origin


def _hint(spec: ModelSpec) -> str:
    if spec.embedded_weights:
        return "it is built in"
    by_hand = f"streamd models import {spec.name} FILE" + (f", which is {spec.bring}" if spec.bring else "")
    return f"streamd models fetch {spec.name}, or {by_hand}" if spec.download else by_hand


def _whence(spec: ModelSpec) -> str:
    if spec.download is None:
        return ""
    size = f" ({spec.download.size / 1e6:.0f} MB)" if spec.download.size else ""
    return f"; from {spec.download.url}{size}"


def _asset(name: str) -> Path:
    return Path(streamd.__file__).parent / "assets" / name


def _copy(source: Path, target: Path) -> str:
    """Returns the sha256 of what was copied."""
    digest = hashlib.sha256()
    size = source.stat().st_size if source.is_file() else -1
    if size < 0 and source.exists() and not source.is_dir():
        raise OSError(errno.EINVAL, "is a pipe or a device: make a file of it", str(source))
    if size > MAX_WEIGHTS_BYTES:
        raise OSError(errno.EFBIG, f"is larger than {MAX_WEIGHTS_BYTES >> 30} GB: no network has so much", str(source))
    with source.open("rb") as file, target.open("xb") as copy:
        while block := file.read(1 << 20):
            digest.update(block)
            copy.write(block)
    return digest.hexdigest()
