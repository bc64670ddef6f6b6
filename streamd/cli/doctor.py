"""`streamd doctor`."""

from __future__ import annotations

import argparse
import sys
from itertools import chain
from pathlib import Path

from streamd.config.load import load
from streamd.config.sections import Config
from streamd.errors import ConfigError, StreamdError

HELP = "What works on this machine, and what to do about the rest."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", type=Path, metavar="FILE", help="check its streams, port and directories too")
    parser.add_argument("--webrtc", action="store_true", help="check how viewers reach this box, step by step")
    parser.add_argument("--json", action="store_true", help="as JSON")


def act(options: argparse.Namespace) -> None:
    from streamd import doctor

    config, error = Config(), None
    try:
        config = load(options.config)
    except ConfigError as failed:  # the machine can be checked all the same
        error = failed
    findings = []
    asked = doctor.of_config(str(options.config or "environment"), error) if options.config or error else ()
    examined = doctor.examine(config, doctor.WEBRTC) if options.webrtc else doctor.examine(config)
    for finding in chain(asked, examined):
        findings.append(finding)
        if not options.json:
            doctor.show(finding, sys.stdout)
    if options.json:
        print(doctor.as_json(findings))
    if error:
        raise error
    if problems := sum(finding.status == "problem" for finding in findings):
        raise StreamdError(f"doctor: {problems} problem{'s' * (problems != 1)}")
