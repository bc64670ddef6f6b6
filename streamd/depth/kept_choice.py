"""The model that the API has chosen, kept in a file over restarts. All of it blocks: for threads."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from streamd.config.load import parse
from streamd.config.sections import ModelConfig
from streamd.depth.files import one_line, write_json
from streamd.errors import StreamdError

log = logging.getLogger(__name__)

KEYS = ("name", "precision")


def chosen(file: ModelConfig, choice: Mapping[str, Any]) -> ModelConfig:
    """The configuration of the file with these of its KEYS. What belongs to the file's own network is left to it.
    Raises ConfigError."""
    given = {**file.model_dump(exclude_unset=True), **choice}
    if given.get("name", file.name) != file.name:
        for key in ("weights", "input_size"):
            given.pop(key, None)
    return parse({"model": given}).model


class KeptChoice:
    """Beside the models. It holds until the configuration says something else of the model than it did then."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def keep(self, config: ModelConfig, file: ModelConfig) -> None:
        """Logs what fails. ``file``: what the configuration says."""
        try:
            with one_line(self._path):
                if _facts(config) == _facts(file):
                    self._path.unlink(missing_ok=True)
                else:
                    self._path.parent.mkdir(parents=True, exist_ok=True)
                    write_json(self._path, {"chosen": _facts(config), "instead_of": _facts(file)})
        except StreamdError as error:
            log.error("%s; the choice of the model is not kept", error)

    def restore(self, file: ModelConfig) -> ModelConfig:
        """What is to run. Raises nothing."""
        try:
            content = json.loads(self._path.read_text())
            if content["instead_of"] == _facts(file):
                return chosen(file, {key: content["chosen"][key] for key in KEYS})
        except FileNotFoundError:
            pass
        except (OSError, ValueError, KeyError, TypeError, StreamdError) as error:
            log.error("%s: the model that was chosen cannot be read: %s", self._path, type(error).__name__)
        return file

    def forget(self) -> None:
        """Logs what fails."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            log.error("%s: %s", self._path, error.strerror)


def _facts(config: ModelConfig) -> dict[str, str]:
    return {key: str(getattr(config, key)) for key in KEYS}
