"""`streamd depth`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from streamd.cli.inputs import file_named
from streamd.cli.network import model_options, start_service
from streamd.cli.output import error_line
from streamd.config.sections import FORMATS, VIEWS, PictureFormat
from streamd.errors import StreamdError, UsageError, doing
from streamd.host.interruption import end_in_order
from streamd.host.whole_file import writing

if TYPE_CHECKING:
    from streamd.depth.int8.scenes import Examples
    from streamd.depth.service import DepthService

HELP = "Depth of pictures."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("image", nargs="+", metavar="IMAGE", help="a file, or - for standard input")
    parser.add_argument(
        "--output", metavar="FILE|DIR", required=True, help="a file, - for standard output, or a folder for several"
    )
    parser.add_argument("--view", choices=VIEWS, default="depth")
    parser.add_argument("--format", choices=FORMATS, help="default: by the ending of FILE; png in a folder")
    model_options(parser)


def act(options: argparse.Namespace) -> None:
    output = Path("/dev/stdout" if options.output == "-" else options.output)
    end_in_order()
    if len(options.image) > 1 or options.output.endswith("/") or output.is_dir():
        _depth_of_many([file_named(image) for image in options.image], output, options)
        return
    format = options.format or output.suffix.lower().removeprefix(".").replace("jpeg", "jpg")
    if format not in FORMATS:
        raise UsageError(f"{output}: which format? Name one: --format {'|'.join(FORMATS)}")
    with doing(f"making {output} of {options.image[0]}"):
        _depth_of(file_named(options.image[0]), output, format, options)


def _depth_of(image: str, output: Path, format: PictureFormat, options: argparse.Namespace) -> None:
    from streamd.host.muted import libraries_muted
    from streamd.jobs import examples
    from streamd.jobs.inputs import read_picture_file
    from streamd.jobs.picture import depth_of_picture
    from streamd.jobs.pictures import named_in_errors, naming

    with naming(image):
        data = read_picture_file(image)
    own = partial(examples.of_picture, data, image)
    with named_in_errors(output), writing(output) as write, _exact_service(options, own) as service:
        with naming(image), libraries_muted():
            made = depth_of_picture(data, service, options.view, format)
        write(made)


def _depth_of_many(images: list[str], folder: Path, options: argparse.Namespace) -> None:
    from streamd.host.muted import libraries_muted
    from streamd.jobs import examples
    from streamd.jobs.pictures import depth_of_pictures, plan

    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder}: is no folder, and there are {len(images)} pictures")
    format: PictureFormat = options.format or "png"
    tasks = plan(images, folder, format)
    own = partial(examples.of_pictures, images)
    with _exact_service(options, own) as service, libraries_muted() as heard:
        failed = depth_of_pictures(tasks, service, options.view, format, report=error_line, file=heard)
    if failed:
        raise StreamdError(f"{failed} of {len(tasks)} pictures failed")


@contextmanager
def _exact_service(options: argparse.Namespace, examples: Examples) -> Iterator[DepthService]:
    """Ready, as long as that takes. A picture is in no hurry: the exact precision, unless an option sets another."""
    service = start_service(options, examples, precision="fp32")
    try:
        service.wait_ready()
        yield service
    finally:
        service.close()
