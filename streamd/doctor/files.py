"""The files and variables that a configuration names: certificates, tokens and passwords."""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterator
from dataclasses import dataclass

from streamd.config.address import SourceAddress
from streamd.config.push import PushTarget
from streamd.config.secret import read_secret
from streamd.config.sections import Config
from streamd.doctor.finding import Finding
from streamd.errors import ConfigError, Problem


@dataclass(frozen=True)
class Missing:
    """What cannot be read here and now."""

    problem: Problem
    only_here: bool
    """The service may well have it: a variable, or a relative path, for which systemd gives it a directory."""


def missing(config: Config) -> Iterator[Missing]:
    """Reads the files: not for the event loop. Shows nothing of what is in them."""
    for path, reference, what in _references(config):
        try:
            read_secret(reference, what)
        except ValueError as error:
            yield Missing(Problem(path, "", str(error)), _depends_on_service(reference))
    if (ca := config.model.endpoint_ca) is not None:
        try:
            ssl.create_default_context(cafile=ca)
        except OSError as error:  # ssl.SSLError is one
            reason = f"cannot be used: {error.strerror or error}"
            yield Missing(Problem("model.endpoint_ca", str(ca), reason), only_here=False)
    yield from _tls(config)


def files(config: Config) -> Iterator[Finding]:
    """As a check of the doctor."""
    for found in missing(config):
        if found.only_here:
            yield Finding("files", "warning", f"{found.problem} here", "the service may have it")
        else:
            yield Finding("files", "problem", str(found.problem), "see its path and its rights")


def _depends_on_service(reference: str) -> bool:
    kind, _, place = reference.partition(":")
    return kind == "env" or (not os.path.isabs(place) and "CREDENTIALS_DIRECTORY" not in os.environ)


def _references(config: Config) -> Iterator[tuple[str, str, str]]:
    """(key, env:NAME or file:PATH, what is there)."""
    for key in ("view_tokens", "control_tokens"):
        for token in getattr(config.server, key):
            yield f"server.{key}", token, "token"
    for number, server in enumerate(config.webrtc.ice_servers):
        yield f"webrtc.ice_servers.{number}.credential", server.credential, "credential"
    yield "model.endpoint_token", config.model.endpoint_token, "token"
    for name, stream in config.streams.items():
        login = SourceAddress.parse(stream.source).login
        if login and login.is_reference:
            yield f"streams.{name}.source", login.secret or "", "password"
        for number, text in enumerate(stream.push):
            if reference := PushTarget.parse(text).reference:
                yield f"streams.{name}.push.{number}", *reference


def _tls(config: Config) -> Iterator[Missing]:
    from streamd.web.tls import load_tls

    try:
        load_tls(config.server)
    except ConfigError as error:
        yield from (Missing(problem, only_here=False) for problem in error.problems)
