"""OpenVINO IR: NAME.xml and NAME.bin, with float32 weights. ``planes`` in, ``depth`` out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from streamd.depth.export.reference import EXACT, Reference, Source
from streamd.depth.export.written import Written
from streamd.depth.graph.openvino import load_model
from streamd.depth.ov import openvino as ov
from streamd.host.whole_file import WholeFile


def write(source: Source, reference: Reference, directory: Path) -> Written:
    model = load_model(source.spec, source.weights)
    xml, weights = directory / f"{source.spec.name}.xml", directory / f"{source.spec.name}.bin"
    with WholeFile(xml) as xml_file, WholeFile(weights) as weights_file:
        save(model, source.facts(), xml_file.part, weights_file.part)
        error = reference.check(loaded(ov.Core().read_model(xml_file.part, weights_file.part)))
    return Written(xml, [xml, weights], error)


def save(model: ov.Model, facts: Mapping[str, str], xml: Path, weights: Path, given: str = "planes") -> None:
    """With what one has to know of it as ``rt_info``. ``given`` is what the input is called."""
    model.input(0).set_names({given})
    model.output(0).set_names({"depth"})
    for key, value in facts.items():
        model.set_rt_info(value, ["streamd", key])
    ov.serialize(model, str(xml), str(weights))


def loaded(model: ov.Model) -> Any:
    """Runs it, in float32: from the one array to the other."""
    network = ov.Core().compile_model(model, "CPU", EXACT)
    return lambda planes: network(planes)[0].copy()
