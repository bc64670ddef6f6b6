from __future__ import annotations

from collections.abc import Iterator

import pytest

from streamd import errors
from streamd.errors import (
    Busy,
    ConfigError,
    DiskFull,
    InferenceFailed,
    ModelMissing,
    OfferRejected,
    Problem,
    SourceError,
    SourceStalled,
    StreamdError,
    UsageError,
    ViewersFull,
    WeightsRejected,
    doing,
)
from streamd.states import WorkerEnd


def family(kind: type[StreamdError] = StreamdError) -> Iterator[type[StreamdError]]:
    yield kind
    for child in kind.__subclasses__():
        if child.__module__ == "streamd.errors":
            yield from family(child)


def test_exit_codes() -> None:
    special = {kind: kind.exit_code for kind in family() if kind.exit_code != 1}
    assert special == {UsageError: 2, ConfigError: 78}


def test_the_tree_is_the_one_that_the_module_shows() -> None:
    assert errors.__doc__ is not None
    for kind in family():
        assert f"{kind.__name__} " in errors.__doc__ or f"{kind.__name__}\n" in errors.__doc__, kind
    (line,) = [line for line in errors.__doc__.splitlines() if "SourceStalled" in line]
    assert line.startswith("│   ├── ")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (SourceStalled("rtsp://***@h/x", "went silent"), "rtsp://***@h/x: went silent"),
        (ModelMissing("dpt", "fetch it"), "model dpt: no weights on this machine: fetch it"),
        (WeightsRejected("a.pt", "cut short"), "a.pt: weights refused: cut short"),
        (InferenceFailed(WorkerEnd.MEMORY, "900 MB"), "depth worker memory: 900 MB"),
        (Busy("too many pictures wait already; try again"), "busy: too many pictures wait already; try again"),
        (DiskFull("/rec", 300_000_000), "/rec: recording stopped: 0.3 GB free"),
        (OfferRejected("no_codec", "no codec in common"), "no codec in common"),
        (ViewersFull(64), "all 64 viewer places are taken; try again"),
        (ConfigError([Problem("a", "1", "bad"), Problem("b", "", "is required")]), "a: 1: bad\nb: is required"),
    ],
)
def test_each_is_one_readable_line(error: StreamdError, line: str) -> None:
    assert str(error) == line


def test_every_source_error_has_its_own_metric_label() -> None:
    codes = [kind.code for kind in family(SourceError) if issubclass(kind, SourceError)]
    assert len(set(codes)) == len(codes)


def test_a_problem_shows_what_was_found() -> None:
    assert str(Problem("a.b", "5", "is bad")) == "a.b: 5: is bad"
    assert str(Problem("a.b", "", "is bad")) == "a.b: is bad"


def test_a_fault_carries_what_was_being_done() -> None:
    with pytest.raises(IndexError) as fault, doing("at streamd convert"), doing("reading x.mp4"):
        raise IndexError
    assert fault.value.__notes__ == ["reading x.mp4", "at streamd convert"]
    with pytest.raises(UsageError) as error, doing("reading x.mp4"):
        raise UsageError
    assert not hasattr(error.value, "__notes__")
