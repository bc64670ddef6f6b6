"""The dashboards, made by code: `make dashboards` writes ../dashboards, and a test compares the two."""

from __future__ import annotations

from pathlib import Path

from configs.grafana.generate import host, overview, stream

DASHBOARDS = Path(__file__).parent.parent / "dashboards"


def dashboards() -> dict[str, str]:
    """File name: JSON."""
    boards = (overview.board(), stream.board(), host.board())
    return {f"{board.uid}.json": board.json() for board in boards}
