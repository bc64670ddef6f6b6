"""The commands, a module for each. They import what they need when they run, so that `--help` answers at once."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from types import ModuleType
from typing import NoReturn

from streamd import __version__, installer
from streamd.cli import bench, check, convert, depth, doctor, models, run, schema
from streamd.cli.output import report, report_fault
from streamd.config.redact import redact, redact_source
from streamd.errors import StreamdError, UsageError, doing
from streamd.host import standard_streams
from streamd.host.standard_streams import OutputLost
from streamd.telemetry import logs

log = logging.getLogger(__name__)

COMMANDS: dict[str, ModuleType] = {
    "run": run,
    "convert": convert,
    "depth": depth,
    "models": models,
    "bench": bench,
    "check": check,
    "doctor": doctor,
    "service": installer,
    "schema": schema,
}
"""``add_arguments`` says what a command takes, ``act`` does it, and ``HELP`` tells what that is."""


def main(arguments: list[str] | None = None) -> int:
    """Exit code: 0 done, 1 failed, 2 usage, 78 bad configuration."""
    if arguments is None:
        standard_streams.set_up()
        _hide_passwords()
    try:
        _act(arguments)
        sys.stdout.flush()
    except StreamdError as error:
        if isinstance(error, OutputLost):
            standard_streams.drop_output()
        return report(error)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader has seen enough, as `head` does
        standard_streams.drop_output()
    except Exception as error:  # a fault of ours, which a user cannot read either
        report_fault(error)
        os._exit(1)  # threads that nobody stopped would keep the process, and systemd would not start another
    return 0


def _act(arguments: list[str] | None) -> None:
    try:
        options = _parser().parse_args(arguments)
    except SystemExit:
        sys.stdout.flush()  # of --help, which may fail
        raise
    as_json = getattr(options, "log_format", "text") == "json"
    logs.set_up(debug=options.debug, plain=options.command != "run", as_json=as_json)
    with doing(f"at streamd {options.command}"):
        options.act(options)


def _hide_passwords() -> None:
    """Of a SOURCE in our command line: /proc shows it to every user of the machine, and journald keeps it. Empties
    what /proc shows of our environment, too."""
    hidden = [redact_source(argument) for argument in sys.orig_argv]
    if hidden != sys.orig_argv:
        from setproctitle import getthreadtitle, setproctitle, setthreadtitle

        name = getthreadtitle()
        setproctitle(" ".join(hidden))
        setthreadtitle(name)


class _Parser(argparse.ArgumentParser):
    """Reports an error in one line, without the whole usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(UsageError.exit_code, f"{self.prog}: {redact(message)}; see {self.prog} --help\n")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="streamd", description="Turns cameras into live depth video on a CPU.")
    parser.add_argument("--version", action="version", version=f"streamd {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, module in COMMANDS.items():
        command = commands.add_parser(name, help=module.HELP, description=module.HELP)
        command.set_defaults(act=module.act)
        command.add_argument("--debug", action="store_true", help="log everything, with tracebacks")
        module.add_arguments(command)
    return parser
