"""The options that choose a network, and what runs it."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, get_args

from streamd.config.load import load
from streamd.config.sections import ModelConfig, ModelName, Precision, Runtime, is_manifest

if TYPE_CHECKING:
    from streamd.depth.int8.scenes import Examples
    from streamd.depth.service import DepthService
    from streamd.depth.store import ModelStore

MODELS = get_args(ModelName)


def model_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=_network, metavar="NAME", help="the network, or the path of a manifest (.toml)")
    parser.add_argument("--runtime", choices=get_args(Runtime), help="what runs it")
    parser.add_argument("--precision", choices=get_args(Precision), help="what it computes in")


def _network(text: str) -> str:
    if text not in MODELS and not is_manifest(text):
        raise argparse.ArgumentTypeError(
            f"{text!r}: choose from {', '.join(MODELS)}, or the path of a manifest (.toml)"
        )
    return text


def model_overrides(options: argparse.Namespace) -> dict[str, str]:
    given = {"name": options.model, "runtime": options.runtime, "precision": options.precision}
    return {key: value for key, value in given.items() if value is not None}


def model_store() -> ModelStore:
    from streamd.depth.store import ModelStore, default_directories

    return ModelStore(*default_directories())


def start_service(
    options: argparse.Namespace, examples: Examples = lambda how: (), *, parallel: int = 1, **defaults: str
) -> DepthService:
    """For one job: a model that is named must be there, else the fall-back stands in. ``examples``: of what it is to
    work on."""
    from streamd.depth.service import DepthService

    given = load(None, overrides={"model": {**defaults, **model_overrides(options), "download": False}})
    config: ModelConfig = given.model
    service = DepthService(
        config,
        model_store(),
        parallel=parallel,
        slots=8,
        strict=options.model is not None,
        attended=True,
        examples=examples,
    )
    service.start()
    return service
