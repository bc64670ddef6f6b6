"""Networks as files that other programs run. Each is loaded again, and compared with the network here."""

from __future__ import annotations

import errno
import importlib
import shutil
from pathlib import Path
from typing import Literal, get_args

from streamd.config.redact import printable
from streamd.depth.export.reference import Reference, Source
from streamd.depth.export.written import Written
from streamd.errors import SinkError, UsageError
from streamd.host.muted import libraries_muted
from streamd.host.whole_file import phrase

Format = Literal["openvino", "onnx", "torchscript", "coreml", "triton"]
FORMATS: tuple[Format, ...] = get_args(Format)

ROOM = 3
"""Times the weights, which may be float16: what an export takes of the disk. Runtimes do not say that it is full."""
_NEEDS = {
    "onnx": 'pip install "streamd[onnx]"',
    "onnxruntime": 'pip install "streamd[onnx]"',
    "torch": 'pip install "streamd[torch]"',
    "coremltools": "pip install coremltools",
}


def export(source: Source, format: Format, directory: Path) -> Written:
    """Makes ``directory`` where there is none. What was there of that name stays when anything fails.

    Raises UsageError when a package is missing, DepthError when the file gives another depth than the network here,
    WeightsRejected, SinkError.
    """
    if source.spec.file is not None:
        raise UsageError(f"model {source.spec.name}: is a file already, which other programs take: {source.spec.file}")
    try:
        with libraries_muted():  # coremltools says at length what only a Mac has
            writer = importlib.import_module(f"streamd.depth.export.{format}")
        directory.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(directory).free < ROOM * source.weights.stat().st_size:
            raise OSError(errno.ENOSPC, "", str(directory))
        written: Written = writer.write(source, Reference(source), directory)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _NEEDS:
            raise
        raise UsageError(f"export to {format} needs {package}: {_NEEDS[package]}") from None
    except OSError as error:
        place = error.filename if isinstance(error.filename, str) else str(directory)
        raise SinkError(f"{printable(place)}: {phrase(error)}") from None
    return written


__all__ = ["FORMATS", "Format", "Source", "Written", "export"]
