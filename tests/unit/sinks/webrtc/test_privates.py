"""What is touched of aiortc and aioice is where it is looked for: this fails when a release moves it."""

from __future__ import annotations

import logging
import tomllib
from importlib import metadata
from pathlib import Path

import aioice.ice
import aiortc.codecs
import pytest
from aioice.ice import Connection
from aiortc import RTCIceGatherer, RTCIceTransport, RTCRtpSender
from packaging.requirements import Requirement

from streamd.sinks.webrtc import privates


async def test_everything_is_there() -> None:
    assert [part.name for part in privates.missing()] == []


@pytest.mark.parametrize(("name", "too_old"), [("aiortc", "1.14"), ("aioice", "0.12")])
def test_the_releases_that_were_tried_are_pinned(name: str, too_old: str) -> None:
    """aioice before 0.13 takes requests for authenticated that are not."""
    project = tomllib.loads((Path(__file__).parents[4] / "pyproject.toml").read_text())["project"]
    (pinned,) = (one for one in map(Requirement, project["dependencies"]) if one.name == name)
    assert any(each.operator == "<" for each in pinned.specifier), "a new release is tried first"
    assert metadata.version(name) in pinned.specifier
    assert too_old not in pinned.specifier


@pytest.mark.parametrize(
    ("owner", "name", "count"),
    [
        (RTCRtpSender, "_send_keyframe", 1),
        (RTCRtpSender, "_retransmit", 1),
        (aioice.ice, "relayed_candidate", 1),
        (aioice.ice, "server_reflexive_candidate", 1),
        (Connection, "get_component_candidates", 1),
        (aiortc.codecs, "HEADER_EXTENSIONS", 1),
    ],
)
async def test_what_is_lost_is_logged_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, owner: object, name: str, count: int
) -> None:
    monkeypatch.delattr(owner, name)
    privates.warn_of_missing.cache_clear()
    for _ in range(2):
        privates.warn_of_missing()
    privates.warn_of_missing.cache_clear()
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert len(warnings) == count
    assert name in warnings[0].getMessage()


async def test_what_lies_below_a_transport_that_has_changed_is_done_without() -> None:
    transport = RTCIceTransport(RTCIceGatherer(iceServers=[]))
    assert isinstance(privates.connection(transport), Connection)
    assert privates.filters([transport]) == ()
    del transport._connection._protocols
    assert privates.connection(transport) is None
    del transport._connection
    assert privates.connection(transport) is None
    assert privates.filters([transport]) == ()
