"""What works on this machine, and what to do about the rest.

Each check is one small function. It imports what it checks when it runs, so that a part which is
missing or broken is a finding, not the end. No finding holds a secret: sources are shown without theirs.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from typing import TextIO

from streamd import __version__
from streamd.config.redact import redact
from streamd.config.sections import Config
from streamd.doctor.files import files
from streamd.doctor.finding import Check, Finding, Status
from streamd.doctor.inference import endpoints
from streamd.doctor.inputs import cameras, streams
from streamd.doctor.machine import disk, memory, port, processor, rtsp, threads, udp
from streamd.doctor.software import codecs, models, packages
from streamd.doctor.webrtc import calls, offered, outside, servers, udp_ports
from streamd.errors import ConfigError, StreamdError

CHECKS: tuple[Check, ...] = (
    processor,
    threads,
    memory,
    cameras,
    codecs,
    packages,
    models,
    endpoints,
    port,
    rtsp,
    udp,
    disk,
    files,
    streams,
)
WEBRTC: tuple[Check, ...] = (offered, udp_ports, calls, servers, outside)
"""How viewers reach this box, in the order of the steps: the first problem is the one to solve."""
_COLORS = {"ok": "\033[32m", "warning": "\033[33m", "problem": "\033[31m"}
_PLAIN = "\033[0m"


def examine(config: Config, checks: Iterable[Check] = CHECKS) -> Iterator[Finding]:
    """What each check finds, one after the other; a check that fails is a finding too. Blocks."""
    for check in checks:
        try:
            found = list(check(config))
        except ImportError as error:
            found = [
                Finding(
                    check.__name__, "problem", f"cannot be loaded: {error}", "install streamd and what it needs again"
                )
            ]
        except StreamdError as error:
            found = [Finding(check.__name__, "problem", f"could not be checked: {error}")]
        except Exception as error:  # the machine that breaks a check is the one that wants the others
            found = [Finding(check.__name__, "problem", f"could not be checked: {error!r}", "please report this")]
        for finding in found:
            yield replace(finding, found=redact(finding.found), advice=redact(finding.advice))


def of_config(file: str, error: ConfigError | None) -> Iterator[Finding]:
    """Whether a configuration file is valid."""
    if error is None:
        yield Finding("config", "ok", f"{file} is valid")
        return
    for problem in error.problems:
        yield Finding("config", "problem", redact(str(problem)), "streamd schema")


def worst(findings: Iterable[Finding]) -> Status:
    statuses = {finding.status for finding in findings}
    return "problem" if "problem" in statuses else "warning" if "warning" in statuses else "ok"


def as_json(findings: Sequence[Finding]) -> str:
    document = {"version": __version__, "status": worst(findings), "findings": [asdict(each) for each in findings]}
    return json.dumps(document, indent=2)


def show(finding: Finding, out: TextIO) -> None:
    """One aligned line, the advice below it; in colour on a terminal that wants it."""
    status = f"{finding.status:8}"
    if out.isatty() and "NO_COLOR" not in os.environ:
        status = f"{_COLORS[finding.status]}{status}{_PLAIN}"
    print(f"{status}{finding.check:11}{finding.found}", file=out)
    if finding.advice:
        print(f"{'':19}-> {finding.advice}", file=out, flush=True)


__all__ = ["CHECKS", "WEBRTC", "Finding", "as_json", "examine", "of_config", "show", "worst"]
