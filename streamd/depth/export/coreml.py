"""Core ML: NAME.mlpackage, an ML Program for one size of picture. It is made here, and can run on a Mac only."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import coremltools

from streamd.depth.export.reference import Reference, Source
from streamd.depth.export.torchscript import trace
from streamd.depth.export.written import Written
from streamd.host.muted import libraries_muted


def write(source: Source, reference: Reference, directory: Path) -> Written:
    target = directory / f"{source.spec.name}.mlpackage"
    planes = reference.planes(reference.pictures[0][:1])
    with libraries_muted():  # it says a lot
        model = coremltools.convert(
            trace(source, planes),
            inputs=[coremltools.TensorType("planes", shape=planes.shape)],
            outputs=[coremltools.TensorType("depth")],
            minimum_deployment_target=coremltools.target.macOS13,
            skip_model_load=True,
        )
    model.author, model.license = "streamd", source.spec.licence
    model.user_defined_metadata.update(source.facts())
    with tempfile.TemporaryDirectory(prefix=".streamd-", dir=directory) as temporary:
        made = Path(temporary, target.name)
        model.save(str(made))
        coremltools.models.MLModel(str(made), skip_model_load=True)
        _put(made, target, Path(temporary, "old"))
    return Written(target, [file for file in target.rglob("*") if file.is_file()], None, reference.size)


def _put(made: Path, target: Path, aside: Path) -> None:
    """A folder cannot take another's place in one step: for a moment there is none."""
    if target.exists():
        target.rename(aside)
    try:
        made.rename(target)
    except OSError:
        if aside.exists():
            aside.rename(target)
        raise
    if aside.is_dir():
        shutil.rmtree(aside)
    else:
        aside.unlink(missing_ok=True)
