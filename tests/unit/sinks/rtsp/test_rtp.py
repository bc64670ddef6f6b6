"""RTP's numbers, and what reports say."""

from __future__ import annotations

import struct
import time
from dataclasses import replace

import pytest

from streamd.sinks.rtsp.rtp import RtpStream
from tests.support.rtsp_client import picture


def test_numbers_begin_anew_at_their_end() -> None:
    stream = RtpStream()
    stream.sequence = 65535
    heads = [head for number in (1, 2) for head, _ in stream.units(replace(picture(number), pts=2**32 + number))]
    assert [struct.unpack("!H", head[2:4])[0] for head in heads] == [65535, 0]
    assert stream.sequence == 1
    first, second = (struct.unpack("!I", head[4:8])[0] for head in heads)
    assert (second - first) % 2**32 == 1


def test_a_report_says_which_rtp_time_it_is() -> None:
    stream = RtpStream()
    shown = replace(picture(1), captured_at=time.monotonic() - 2)
    [(head, payload)] = stream.units(shown)
    report = stream.report(shown)
    assert report is not None
    assert stream.report(shown) is None  # not again so soon
    version, kind, words, ssrc, ntp, stamp, packets, octets = struct.unpack("!BBHIQIII", report[:28])
    assert (version, kind, words, ssrc) == (0x80, 200, 6, stream.ssrc)
    assert ntp / 2**32 - 2_208_988_800 == pytest.approx(time.time(), abs=1)
    assert (stamp - struct.unpack("!I", head[4:8])[0]) % 2**32 == pytest.approx(180_000, abs=9000)
    assert (packets, octets) == (1, len(payload))
    assert report[28:32] == bytes((0x81, 202, 0, 4))
    assert report[38:45] == b"streamd"


def test_every_packet_of_a_compound_has_its_length() -> None:
    left, kinds = RtpStream().bye(), []
    while left:
        kinds.append(left[1])
        left = left[4 * (struct.unpack("!H", left[2:4])[0] + 1) :]
    assert kinds == [201, 202, 203]
