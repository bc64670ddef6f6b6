"""TorchScript: NAME.pt, traced. (n, 3, h, w) in, (n, h, w) out, float32."""

from __future__ import annotations

import warnings
from pathlib import Path

import torch

from streamd.depth.export.reference import Reference, Run, Source
from streamd.depth.export.written import Written
from streamd.depth.graph.torch import load_network
from streamd.errors import DepthError
from streamd.host.whole_file import WholeFile
from streamd.media.frames import FloatImage


def write(source: Source, reference: Reference, directory: Path) -> Written:
    path = directory / f"{source.spec.name}.pt"
    with WholeFile(path) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # torch would have torch.export used instead
        torch.jit.save(trace(source, reference.planes(reference.pictures[0])), str(file.part))
        run, only = loaded(file.part), ""
        error = reference.check(run, lying_only=True)
        try:
            error = reference.check(run)
        except (DepthError, RuntimeError):  # what the network works out of its input's sides has become constant
            only = reference.size
    return Written(path, [path], error, only)


def trace(source: Source, planes: FloatImage) -> torch.jit.ScriptModule:
    """``planes`` is an example."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        network = load_network(source.spec, source.weights)
        traced: torch.jit.ScriptModule = torch.jit.trace(  # type: ignore[no-untyped-call]
            network, torch.from_numpy(planes), check_trace=False
        )
    return traced


def loaded(path: Path) -> Run:
    network = torch.jit.load(str(path)).eval()  # type: ignore[no-untyped-call]

    def run(planes: FloatImage) -> FloatImage:
        with torch.no_grad():
            depth: FloatImage = network(torch.from_numpy(planes)).numpy()
        return depth

    return run
