"""The result of `streamd bench` for people: a table, and a picture of bars."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from pathlib import Path

import cv2
import numpy as np

from streamd.errors import UsageError
from streamd.jobs.bench import Result, Row

ENDINGS = (".svg", ".png")
_BAR, _GAP, _LABEL, _WIDTH, _VALUE = 18, 8, 330, 480, 90
"""Of the picture, px."""
_HEAD = ("model", "runtime", "precision", "input", "ms", "CPU ms", "fps", "MB", "error", "of peak")
_COLOUR = "#8b2f6b"


def table(result: Result) -> str:
    """Lines for a terminal."""
    box = result.box
    peak = ", ".join(f"{name} {value:.0f}" for name, value in result.peak_gflops.items())
    lines = [f"{box['cpu']}, {box['cores']} cores, OpenVINO {box['openvino']}, load {box['load']}"]
    lines += [f"peak of a core, GFLOP/s: {peak}"] if peak else []
    problems = [row for row in result.rows if row.problem]
    lines += ["", *_aligned([_HEAD, *(_cells(row) for row in result.rows if not row.problem)], names=4)]
    lines += [f"{row.model} {row.runtime} {row.precision}: {row.problem}" for row in problems]
    return "\n".join([*lines, "", *_stages(result)])


def _cells(row: Row) -> tuple[str, ...]:
    def number(value: float | None, form: str) -> str:
        return "-" if value is None else format(value, form)

    return (
        row.model,
        row.runtime,
        row.precision,
        row.input,
        number(row.ms, ".1f"),
        number(row.cpu_ms, ".1f"),
        number(row.fps, ".1f"),
        number(row.mb, "d"),
        number(row.error, ".2%"),
        number(row.of_peak, ".0%"),
    )


def _stages(result: Result) -> list[str]:
    pipeline = result.pipeline
    if "problem" in pipeline:
        return [f"a frame with {pipeline['model']}: {pipeline['problem']}"]
    title = f"a frame of 1280x720, {pipeline['model']} by {pipeline['runtime']} in {pipeline['precision']}"
    costs = {stage: (cost["ms"], cost["cpu_ms"]) for stage, cost in pipeline["stages"].items()}
    costs["all"] = (sum(ms for ms, _ in costs.values()), sum(cpu_ms for _, cpu_ms in costs.values()))
    rows = [(stage, f"{ms:.2f}", f"{cpu_ms:.2f}") for stage, (ms, cpu_ms) in costs.items()]
    return [title, *_aligned([("stage", "ms", "CPU ms"), *rows], names=1)]


def _aligned(rows: Sequence[Sequence[str]], names: int) -> list[str]:
    """The first columns to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]

    def cell(text: str, column: int) -> str:
        return text.ljust(widths[column]) if column < names else text.rjust(widths[column])

    return ["  ".join(cell(text, column) for column, text in enumerate(row)).rstrip() for row in rows]


def check_plot(path: Path) -> None:
    """Raises UsageError when it is no picture that can be drawn."""
    if path.suffix.lower() not in ENDINGS:
        raise UsageError(f"{path}: --plot draws {' or '.join(ENDINGS)}")


def plot(result: Result, path: Path) -> bytes:
    """Milliseconds of each row as bars: an SVG or a PNG, by the ending of ``path``."""
    bars = [
        (f"{row.model} {row.runtime} {row.precision} {row.input}", row.ms) for row in result.rows if row.ms is not None
    ]
    title = f"ms of one inference: {result.box['cpu']}, {result.box['cores']} cores"
    return _svg(title, bars) if path.suffix.lower() == ".svg" else _png(title, bars)


def _layout(bars: Sequence[tuple[str, float]]) -> list[tuple[int, int]]:
    """(y, length) of each bar, px."""
    most = max((value for _, value in bars), default=1.0)
    return [
        (2 * _BAR + number * (_BAR + _GAP), max(round(_WIDTH * value / most), 1))
        for number, (_, value) in enumerate(bars)
    ]


def _size(bars: Sequence[tuple[str, float]]) -> tuple[int, int]:
    return _LABEL + _WIDTH + _VALUE, 2 * _BAR + len(bars) * (_BAR + _GAP) + _GAP


def _svg(title: str, bars: Sequence[tuple[str, float]]) -> bytes:
    width, height = _size(bars)
    parts = [f'<text x="{_GAP}" y="{_BAR}">{escape(title)}</text>']
    for (label, value), (y, length) in zip(bars, _layout(bars), strict=True):
        base = y + _BAR - 4
        parts += [
            f'<text x="{_LABEL - _GAP}" y="{base}" text-anchor="end">{escape(label)}</text>',
            f'<rect x="{_LABEL}" y="{y}" width="{length}" height="{_BAR}" fill="{_COLOUR}"/>',
            f'<text x="{_LABEL + length + _GAP}" y="{base}">{value:.1f}</text>',
        ]
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif"'
    body = "\n".join(['<rect width="100%" height="100%" fill="white"/>', *parts])
    return f'{head} font-size="12">\n{body}\n</svg>\n'.encode()


def _png(title: str, bars: Sequence[tuple[str, float]]) -> bytes:
    width, height = _size(bars)
    picture = np.full((height, width, 3), 255, np.uint8)

    def write(text: str, x: int, y: int) -> None:
        cv2.putText(picture, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 0), 1, cv2.LINE_AA)

    write(title, _GAP, _BAR)
    colour = tuple(bytes.fromhex(_COLOUR[1:])[::-1])
    for (label, value), (y, length) in zip(bars, _layout(bars), strict=True):
        write(label, _GAP, y + _BAR - 5)
        cv2.rectangle(picture, (_LABEL, y), (_LABEL + length, y + _BAR), colour, cv2.FILLED)
        write(f"{value:.1f}", _LABEL + length + _GAP, y + _BAR - 5)
    return bytes(cv2.imencode(".png", picture)[1].tobytes())
