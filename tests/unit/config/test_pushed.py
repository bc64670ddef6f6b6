"""Options of udp://, and what streamd does not listen for."""

from __future__ import annotations

import re

import pytest

from streamd.config.address import SourceAddress
from streamd.config.pushed import check_pushed


@pytest.mark.parametrize(
    "source",
    [
        "udp://:5000",
        "udp://0.0.0.0:5000?",
        "udp://@239.1.1.1:5000?localaddr=192.0.2.1&reuse=1&sources=192.0.2.7,192.0.2.8",
        "udp://@[ff02::1]:5000?localaddr=2001:db8::1",
        "udp://:5000?overrun_nonfatal=1&fifo_size=50000&buffer_size=1000000&pkt_size=1316",
        "rtmp://192.0.2.1/app/name?token=0.0.0.0",
        "rtsp://h/?timeout=5",
    ],
)
def test_good(source: str) -> None:
    check_pushed(SourceAddress.parse(source))


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("udp://:5000?timeout=5", "read_timeout_s is what does that"),
        ("udp://:5000?fifosize=5", "udp:// does not know; there are: localaddr"),
        ("udp://:5000?reuse", "has an option reuse that is not a number up to 1"),
        ("udp://:5000?fifo_size=99999999", "fifo_size that is not a number up to 356962"),
        ("udp://:5000?buffer_size=-1", "buffer_size that is not a number"),
        ("udp://:5000?localaddr=eth0", "localaddr that is not an IP address"),
        ("udp://:5000?sources=192.0.2.1,x", "sources that is not an IP address"),
        ("rtmp://0.0.0.0/app", "does not listen"),
        ("rtmp://[::]/app", "does not listen"),
    ],
)
def test_bad(source: str, reason: str) -> None:
    with pytest.raises(ValueError, match=re.escape(reason)):
        check_pushed(SourceAddress.parse(source))
