"""`streamd convert`."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import get_args

from streamd.cli.inputs import file_named
from streamd.cli.network import model_options, start_service
from streamd.cli.output import tell
from streamd.config.redact import printable
from streamd.config.sections import RECORDED_VIEWS, Edges
from streamd.errors import doing
from streamd.host.interruption import end_in_order

HELP = "Depth of every frame of a video file, its audio copied."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("input", metavar="INPUT", help="a file, or - for standard input")
    parser.add_argument("output", metavar="OUTPUT", type=Path)
    parser.add_argument("--view", choices=RECORDED_VIEWS, default="depth")
    parser.add_argument("--edges", choices=get_args(Edges), default="crisp", help="of the depth that is drawn")
    model_options(parser)


def act(options: argparse.Namespace) -> None:
    from streamd.jobs import examples
    from streamd.jobs.convert import Conversion
    from streamd.jobs.inputs import spooled

    end_in_order()
    with (
        doing(f"converting {options.input} to {options.output}"),
        spooled(file_named(options.input)) as input,
        Conversion(input, options.output, options.view) as conversion,  # before anything is started
    ):
        service = start_service(options, partial(examples.of_film, input), parallel=2)
        try:
            done = conversion.run(service, edges=options.edges)
        finally:
            service.close()
    what = printable(str(options.output))
    tell(f"{what}: {done.frames} frames in {done.seconds:.1f} s, {done.fps:.1f} fps, model {done.model}")
