from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from streamd.errors import SourceUnsupported
from streamd.sources.regular import require_regular


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("pipe", "is a pipe: let its writer make a file, or send to udp:// or rtsp://"),
        ("socket", "is a socket, not a file"),
        ("/dev/zero", "is a device, not a file"),
    ],
)
def test_what_cannot_be_opened_twice_is_refused(
    place: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("socket")
        with pytest.raises(SourceUnsupported) as refused:
            require_regular(place, "yard")
    assert str(refused.value) == f"yard: {reason}"


def test_the_rest_is_left_to_who_opens_it(tmp_path: Path) -> None:
    for place in (__file__, str(tmp_path), str(tmp_path / "none")):
        require_regular(place, "yard")
