"""Servers that run the network: ``model.endpoints``."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, wait

from streamd.concurrency import threads
from streamd.config.endpoints import EndpointAddress
from streamd.config.secret import read_secret
from streamd.config.sections import Config, ModelConfig
from streamd.doctor.finding import Finding
from streamd.errors import DepthError

CONNECT_S = 2.0


def endpoints(config: Config) -> Iterator[Finding]:
    """Whether each is ready and has the model; all at once. Whether it gives the right depth is seen with pictures."""
    if config.model.runtime != "remote":
        return
    asked: list[tuple[str, Future[str]]] = []
    for number, url in enumerate(config.model.endpoints, start=1):
        answer: Future[str] = Future()
        # Left to itself when a name takes longer to look up than we wait.
        threads.start(f"ask-{number}", lambda url=url, answer=answer: answer.set_result(_ask(url, config.model)))  # type: ignore[misc]
        asked.append((f"{number} ({EndpointAddress.parse(url)})", answer))
    wait([answer for _, answer in asked], timeout=CONNECT_S + 0.5)
    for where, answer in asked:
        reason = answer.result() if answer.done() else "no answer"
        if reason:
            advice = "until it serves, others do, or the network here: docs/models.md"
            yield Finding("endpoints", "warning", f"{where}: {reason}", advice)
        else:
            yield Finding("endpoints", "ok", f"{where}: ready, and has {config.model.name}")


def _ask(url: str, config: ModelConfig) -> str:
    """Empty, or what is wrong."""
    from streamd.depth.remote import NoAnswer, open_client

    try:
        token = read_secret(config.endpoint_token, "token")
        client = open_client(EndpointAddress.parse(url), config.name, token, str(config.endpoint_ca or ""))
    except ModuleNotFoundError as error:
        return f'{error.name} is not installed: pip install "streamd[remote]"'
    except (ValueError, DepthError) as error:
        return str(error)
    until = time.monotonic() + CONNECT_S
    try:
        client.connect(until)
        client.check_ready(until)
        client.check_metadata(until)
    except NoAnswer as failure:
        return str(failure)
    finally:
        client.close()
    return ""
