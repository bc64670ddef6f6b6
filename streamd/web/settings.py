"""The settings that a request asks for, made from its body and from those that are wanted now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from streamd.config.load import parse
from streamd.config.push import redact_push
from streamd.config.redact import redact_source
from streamd.config.sections import StreamConfig
from streamd.errors import ConfigError, Problem
from streamd.sources import MediaDirectories, permitted
from streamd.sources.media_directories import NO_MEDIA

REDACTED = ("://***@", "=***")
"""What redaction makes of a password, and no password is."""


def replaced(
    name: str, wanted: StreamConfig | None, body: Mapping[str, Any], media: MediaDirectories = NO_MEDIA
) -> StreamConfig:
    """These settings and no others. Raises ConfigError, with every problem, or for what the API may not set."""
    given = _with_push(wanted, _with_password(name, wanted, body))
    config = parse({"streams": {name: given}}).streams[name]
    if problems := permitted.problems(name, config, wanted, media):
        raise ConfigError(problems)
    return config


def merged(
    name: str, wanted: StreamConfig, body: Mapping[str, Any], media: MediaDirectories = NO_MEDIA
) -> StreamConfig:
    """What the body names is changed; null takes a key back to its default. Raises ConfigError."""
    before = wanted.model_dump(mode="json", exclude_unset=True)
    reset = {key for key, value in body.items() if value is None and key in StreamConfig.model_fields}
    changed = {key: value for key, value in {**before, **body}.items() if key not in reset}
    if wanted.push and "push" in reset:
        changed["push"] = []  # left out it would stay
    return replaced(name, wanted, changed, media)


def _with_password(name: str, wanted: StreamConfig | None, settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """A source sent back as GET shows it, with its password hidden, keeps the password that is there."""
    source = settings.get("source")
    if not isinstance(source, str) or not any(mark in source for mark in REDACTED):
        return settings
    if wanted is not None and source in (wanted.source, redact_source(wanted.source)):
        return {**settings, "source": wanted.source}
    reason = "has *** in place of a password: write the password to change the source"
    raise ConfigError([Problem(f"streams.{name}.source", "", reason)])


def _with_push(wanted: StreamConfig | None, settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """What only the file may set stays, where it is not named or as GET shows it."""
    if wanted is None or not wanted.push:
        return settings
    shown = [redact_push(target) for target in wanted.push]
    return {**settings, "push": wanted.push} if settings.get("push", shown) == shown else settings
