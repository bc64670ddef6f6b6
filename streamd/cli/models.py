"""`streamd models`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from streamd.cli.network import MODELS, model_store
from streamd.cli.output import tell
from streamd.errors import StreamdError, UsageError

if TYPE_CHECKING:
    from streamd.depth.store import ModelStore

EXPORTS = ("openvino", "onnx", "torchscript", "coreml", "triton")

HELP = "The networks on this machine."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("list", "fetch", "import", "verify", "export"))
    parser.add_argument("name", nargs="?", metavar="NAME")
    parser.add_argument("file", nargs="?", metavar="FILE", type=Path)
    parser.add_argument("--format", choices=EXPORTS, help="of an export")
    parser.add_argument("--output", metavar="DIR", type=Path, help="where an export goes")


def act(options: argparse.Namespace) -> None:
    store = model_store()
    act = {"list": _list, "fetch": _fetch, "import": _import, "verify": _verify, "export": _export}[options.action]
    act(store, options)


def _list(store: ModelStore, options: argparse.Namespace) -> None:
    for status in store.status():
        digest = status.receipt.sha256[:12] if status.receipt else ""
        print(f"{status.spec.name:23} {status.spec.title:25} {status.spec.licence:14} {digest:12} {status.note}")


def _fetch(store: ModelStore, options: argparse.Namespace) -> None:
    from tqdm import tqdm

    name, printed = _name(options), [0]
    _tell_notice(name)
    with tqdm(unit="B", unit_scale=True, file=sys.stderr, disable=not sys.stderr.isatty(), leave=False) as bar:

        def progress(done: int, total: int | None) -> None:
            if bar.disable and total and 10 * done // total > 10 * printed[0] // total:
                print(f"{name}: {100 * done // total} % of {total / 1e6:.0f} MB", file=sys.stderr, flush=True)
            printed[0] = done
            bar.total = total
            bar.update(done - bar.n)

        receipt = store.fetch(name, progress)
    print(f"{name}: {receipt.size / 1e6:.1f} MB, sha256 {receipt.sha256}")


def _tell_notice(name: str) -> None:
    """What its licence asks to be told."""
    from streamd.depth.models import find_model

    if notice := find_model(name).notice:
        print(f"{name}: {notice}", file=sys.stderr, flush=True)


def _import(store: ModelStore, options: argparse.Namespace) -> None:
    name = _name(options)
    if options.file is None:
        raise UsageError("models import: name a FILE too")
    _tell_notice(name)
    receipt = store.import_file(name, options.file)
    note = {True: " (the official file)", False: " (not the official file)", None: ""}[receipt.official]
    print(f"{name}: {receipt.size / 1e6:.1f} MB, sha256 {receipt.sha256}{note}")


def _verify(store: ModelStore, options: argparse.Namespace) -> None:
    results = store.verify()
    for result in results:
        print(f"{result.model}: {'ok' if result.ok else 'BAD'}: {result.detail}")
    bad = [result.model for result in results if not result.ok]
    if bad:
        raise StreamdError(f"damaged: {', '.join(bad)}")


def _export(store: ModelStore, options: argparse.Namespace) -> None:
    name = _name(options)
    if options.format is None or options.output is None:
        raise UsageError(f"models export: say what and where: --format {'|'.join(EXPORTS)} --output DIR")
    from streamd.depth.export import Source, export
    from streamd.depth.models import find_model

    weights, sha256 = store.weights(name)
    made = export(Source(find_model(name), weights, sha256), options.format, options.output)
    agrees = "not run: only a Mac can" if made.error is None else f"loaded again, within {100 * made.error:.2g} %"
    only = f", takes {made.only} only" if made.only else ""
    tell(f"{made.path}: {made.size_bytes / 1e6:.1f} MB, {agrees}{only}")


def _name(options: argparse.Namespace) -> str:
    if options.name is None:
        raise UsageError(f"models {options.action}: name one of: {', '.join(MODELS)}")
    return str(options.name)
