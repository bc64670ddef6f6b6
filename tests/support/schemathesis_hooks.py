"""What Schemathesis cannot guess: names that exist, and how SDP and pictures look. Its SCHEMATHESIS_HOOKS."""

from __future__ import annotations

import random
from typing import Any

import schemathesis
from hypothesis import strategies as st

from tests.support.bombs import gif, photo, png, saved

STREAM, SPARE = "bars", "spare"
OFFER = "\r\n".join(
    [
        *("v=0", "o=- 1 2 IN IP4 127.0.0.1", "s=-", "t=0 0", "a=group:BUNDLE 0"),
        *("m=video 9 UDP/TLS/RTP/SAVPF 98", "c=IN IP4 0.0.0.0", "a=mid:0", "a=recvonly", "a=rtcp-mux"),
        *("a=ice-ufrag:abcd", f"a=ice-pwd:{'x' * 24}", f"a=fingerprint:sha-256 {':'.join(['AB'] * 32)}"),
        *("a=setup:actpass", "a=rtpmap:98 H264/90000", "a=fmtp:98 packetization-mode=1;profile-level-id=42e01f", ""),
    ]
)
FRAGMENT = "a=ice-ufrag:abcd\r\na=ice-pwd:xxxxxxxxxxxxxxxxxxxxxxxx\r\na=mid:0\r\n"
PICTURES = [saved(photo(64, 48), "PNG"), saved(photo(64, 48), "JPEG"), png(1, 1), png(9000, 9000), gif(3, 3), b"", b"x"]

schemathesis.openapi.media_type("image/*", st.sampled_from(PICTURES) | st.binary(max_size=100))
schemathesis.openapi.media_type("application/sdp", st.sampled_from([OFFER.encode()]) | st.binary(max_size=100))
schemathesis.openapi.media_type(
    "application/trickle-ice-sdpfrag", st.sampled_from([FRAGMENT.encode()]) | st.binary(max_size=100)
)


@schemathesis.hook
def map_path_parameters(context: Any, path_parameters: Any) -> Any:
    """Every other time one that is there, or may be. The stream that all others need stays as it is."""
    if not isinstance(path_parameters, dict) or random.Random(repr(path_parameters)).random() < 0.5:
        return path_parameters
    changes = context.operation.method.upper() in ("PUT", "PATCH", "DELETE")
    name = SPARE if changes and context.operation.path == "/api/v1/streams/{name}" else STREAM
    there = {"name": name, "file": "app.js"}
    return path_parameters | {key: value for key, value in there.items() if key in path_parameters}


@schemathesis.hook
def filter_case(context: Any, case: Any) -> bool:
    """It learns names from answers, too."""
    is_stream = case.path == "/api/v1/streams/{name}" and case.method in ("PUT", "PATCH", "DELETE")
    return not (is_stream and (case.path_parameters or {}).get("name") == STREAM)
