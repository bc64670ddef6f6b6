from __future__ import annotations

import re
from pathlib import Path

import pytest

import streamd
from streamd.config.sections import VIEWS
from streamd.states import StreamState

STATIC = Path(streamd.__file__).parent / "web" / "static"


@pytest.mark.parametrize("state", list(StreamState))
def test_a_state_may_be_entered_again(state: StreamState) -> None:
    assert state.may_become(state)


@pytest.mark.parametrize("state", list(StreamState))
def test_a_stream_that_stops_does_nothing_else(state: StreamState) -> None:
    assert state.may_become(StreamState.STOPPING)
    assert StreamState.STOPPING.may_become(state) == (state is StreamState.STOPPING)


@pytest.mark.parametrize("state", [StreamState.IDLE, StreamState.ENDED, StreamState.FAILED])
def test_what_rests_starts_before_it_runs(state: StreamState) -> None:
    assert state.may_become(StreamState.STARTING)
    assert not state.may_become(StreamState.RUNNING)
    assert not state.may_become(StreamState.RECONNECTING)


def test_the_page_knows_the_same_states_and_views() -> None:
    (states,) = re.findall(r"^export type State = (.*);$", (STATIC / "types.d.ts").read_text(), re.MULTILINE)
    assert re.findall(r"'(\w+)'", states) == list(StreamState)
    (views,) = re.findall(
        r"^export const VIEWS = {(.*?)};", (STATIC / "address.js").read_text(), re.MULTILINE | re.DOTALL
    )
    assert re.findall(r"^  '?([\w-]+)'?:", views, re.MULTILINE) == list(VIEWS)
