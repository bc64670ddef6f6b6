"""An event as it leaves: the same JSON for commands and webhooks."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from streamd.streams.events import Event


def timestamp(event: Event) -> str:
    """RFC 3339, UTC, with milliseconds."""
    return datetime.fromtimestamp(event.time, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def message(event: Event) -> bytes:
    """``type``, ``timestamp`` and ``data``, as Standard Webhooks recommends."""
    return json.dumps({"type": event.type, "timestamp": timestamp(event), "data": event.json}).encode()


def fields(event: Event) -> dict[str, str]:
    """What the placeholders of a command stand for; empty for what this event has not."""
    known = event.json
    words = {name: str(known.get(name) or "") for name in ("stream", "zone", "kind", "state")}
    return {"type": event.type, "time": timestamp(event), **words}
