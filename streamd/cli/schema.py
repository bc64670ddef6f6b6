"""`streamd schema`."""

from __future__ import annotations

import argparse

HELP = "The configuration reference."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="as JSON Schema")


def act(options: argparse.Namespace) -> None:
    from streamd.config import schema

    print(schema.json_schema() if options.json else schema.reference())
