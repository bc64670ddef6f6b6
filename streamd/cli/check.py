"""`streamd check`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from streamd.config.load import load
from streamd.errors import ConfigError

HELP = "Validate a configuration file; all its problems at once."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", type=Path)


def act(options: argparse.Namespace) -> None:
    from streamd.depth.runtimes import check_model
    from streamd.doctor.files import missing
    from streamd.doctor.inputs import not_installed, unsupported

    config = load(options.file)
    check_model(config.model)
    found = list(missing(config))
    problems = [each.problem for each in found if not each.only_here]
    if problems := [*problems, *unsupported(config), *not_installed(config)]:
        raise ConfigError(problems)
    for each in found:
        print(f"{each.problem} here; the service needs it", file=sys.stderr)
    print(f"{options.file}: good: {len(config.streams)} stream{'s' * (len(config.streams) != 1)}")
