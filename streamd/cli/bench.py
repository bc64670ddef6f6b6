"""`streamd bench`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, get_args

from streamd.cli.network import model_store, start_service
from streamd.config.sections import Precision, Runtime
from streamd.host.interruption import end_in_order

if TYPE_CHECKING:
    from streamd.depth.service import DepthService

MAX_BENCH_S = 3600.0
RUNTIMES_HERE = [runtime for runtime in get_args(Runtime) if runtime not in ("auto", "remote")]

HELP = "How fast this machine is: networks, runtimes, precisions, and a whole frame."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", nargs="+", action="extend", metavar="NAME", help="default: all that are here")
    parser.add_argument("--runtime", nargs="+", action="extend", choices=RUNTIMES_HERE, help="default: all")
    parser.add_argument("--precision", nargs="+", action="extend", choices=get_args(Precision)[1:], help="default: all")
    parser.add_argument("--seconds", type=_positive, default=2.0, metavar="N", help="for each measurement (2)")
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="a picture too: .svg or .png")


def act(options: argparse.Namespace) -> None:
    from streamd.jobs import bench, bench_report

    if options.plot:
        bench_report.check_plot(options.plot)
    end_in_order()
    store = model_store()
    runtimes = tuple(dict.fromkeys(options.runtime or bench.RUNTIMES))
    models = tuple(dict.fromkeys(options.model or bench.installed(store)))
    plan = bench.Plan(models, runtimes, tuple(dict.fromkeys(options.precision or ())), options.seconds)
    one = {"runtime": options.runtime, "precision": options.precision}
    settings = {key: given[0] if given else None for key, given in one.items()}

    def service(model: str) -> DepthService:
        return start_service(argparse.Namespace(model=model, **settings))

    result = bench.bench(plan, store, service)
    print(result.to_json() if options.json else bench_report.table(result))
    if options.plot:
        from streamd.host.whole_file import write_whole
        from streamd.jobs.pictures import named_in_errors

        with named_in_errors(options.plot):
            write_whole(options.plot, bench_report.plot(result, options.plot))


def _positive(text: str) -> float:
    """An error for argparse when it is none."""
    value = float(text)
    if not 0 < value <= MAX_BENCH_S:
        raise ValueError
    return value
