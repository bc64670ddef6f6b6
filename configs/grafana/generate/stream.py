"""One stream in depth: where its time goes, what is left out and why."""

from __future__ import annotations

from configs.grafana.generate.board import Board
from configs.grafana.generate.overview import state_number
from configs.grafana.generate.panels import (
    FPS,
    PER_SECOND,
    Query,
    at_most,
    bars,
    heat_map,
    lines,
    number,
    or_zero,
    states,
)

MINE = 'instance="$instance", stream="$stream"'
STAGES = {
    "decode": "The compressed packet becomes a picture.",
    "wait": "In the mailbox, until the network is free.",
    "preprocess": "Shrunk to the network's size, into its colours.",
    "infer": "The network's time, with the way to its process and back.",
    "render": "Range, colours, drawing.",
    "encode": "The picture becomes a packet again, once for all viewers.",
}
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
TOTAL = "streamd_capture_to_publish_seconds"


def rate(counter: str, by: str = "", more: str = "") -> str:
    return f"sum by ({by}) (rate({counter}{{{MINE}{more}}}[$__rate_interval]))"


def quantile(fraction: float, histogram: str, by: str = "") -> str:
    buckets = rate(f"{histogram}_bucket", f"{by}, le" if by else "le")
    return f"histogram_quantile({fraction}, {buckets})"


def board() -> Board:
    made = Board(
        "streamd-stream", "streamd: one stream", "Where the time of a frame goes, and what is left out.", several=False
    )
    _now(made)
    _latency(made)
    _stages(made)
    _frames(made)
    _viewers(made)
    _source(made)
    return made


def _now(made: Board) -> None:
    made.row("Now")
    state = Query(f"streamd_stream_state{{{MINE}}} == 1", "{{state}}")
    made.add(number("State", "What the stream does now.", "none", state, name=True), 4, 4)
    made.add(
        number("Camera", "Frames that the source delivers.", FPS, Query(rate("streamd_frames_captured_total"))), 4, 4
    )
    made.add(number("Depth", "Frames that went through the network.", FPS, Query(rate(f"{TOTAL}_count"))), 4, 4)
    made.add(
        number(
            "Latency p95",
            "From the decoded frame to its encoded depth picture.",
            "s",
            Query(quantile(0.95, TOTAL)),
            thresholds=at_most(0.25, 0.5),
        ),
        4,
        4,
    )
    made.add(
        number("Viewers", "People who watch now.", "none", Query(or_zero(f"sum(streamd_viewers{{{MINE}}})"))), 4, 4
    )
    made.add(
        number(
            "Flicker",
            "How much the shown depth changes each frame where the picture stands still.",
            "percentunit",
            Query(f"streamd_depth_flicker_ratio{{{MINE}}}"),
            thresholds=at_most(0.03, 0.05),
        ),
        4,
        4,
    )


def _latency(made: Board) -> None:
    made.row("Latency")
    made.add(
        heat_map(
            "Capture to publish",
            "Frames a second by their age when their depth picture is encoded.",
            "s",
            Query(rate(f"{TOTAL}_bucket", "le"), "{{le}}"),
        ),
        12,
    )
    made.add(
        lines(
            "Capture to publish: p50, p95, p99",
            "The network of the browser comes on top. Dashed: where StreamdLatencyHigh begins.",
            "s",
            *(Query(quantile(fraction, TOTAL), name) for name, fraction in QUANTILES.items()),
            thresholds=at_most(0.5, 0.5),
        ),
        12,
    )
    each = [
        f'label_replace({quantile(fraction, "streamd_stage_seconds", "stage")}, "quantile", "{name}", "", "")'
        for name, fraction in QUANTILES.items()
    ]
    made.add(
        bars(
            "Waterfall",
            "The stages of a frame one after the other. No frame is slow in all of them at once, so the bar of p95 is "
            "longer than the p95 of the whole.",
            "s",
            Query(" or ".join(each)),
            row="quantile",
            column="stage",
            order=list(STAGES),
        ),
        12,
    )
    made.add(
        lines(
            "Stages: p95",
            "Which stage became slower, and when.",
            "s",
            Query(quantile(0.95, "streamd_stage_seconds", "stage"), "{{stage}}"),
        ),
        12,
    )


def _stages(made: Board) -> None:
    made.row("Stages")
    for stage, text in STAGES.items():
        buckets = rate("streamd_stage_seconds_bucket", "le", f', stage="{stage}"')
        made.add(heat_map(stage.capitalize(), text, "s", Query(buckets, "{{le}}")), 8)


def _frames(made: Board) -> None:
    made.row("Frames")
    made.add(
        lines(
            "Frames",
            "From the camera, through the network, and encoded in each view that somebody watches or records.",
            FPS,
            Query(rate("streamd_frames_captured_total"), "captured"),
            Query(rate(f"{TOTAL}_count"), "depth"),
            Query(or_zero(rate("streamd_frames_published_total", "view")), "published: {{view}}"),
        ),
        12,
    )
    made.add(
        lines(
            "Skipped by reason",
            "superseded, overflow, late: to keep up. max_fps: as configured. corrupt: damaged on the way. "
            "error: the depth worker failed. disk: a recording could not write as fast.",
            FPS,
            Query(or_zero(rate("streamd_frames_skipped_total", "reason")), "{{reason}}"),
            stacked=True,
        ),
        12,
    )
    made.add(
        lines(
            "Flicker",
            "How much the shown depth changes each frame where the picture stands still, as a share of the range. "
            "Dashed: where StreamdFlickerHigh begins.",
            "percentunit",
            Query(f"streamd_depth_flicker_ratio{{{MINE}}}", "flicker"),
            thresholds=at_most(0.05, 0.05),
        ),
        12,
    )
    made.add(
        lines(
            "Recording",
            "Bytes that go to files each second.",
            "Bps",
            Query(rate("streamd_recorded_bytes_total"), "recorded"),
        ),
        12,
    )


def _viewers(made: Board) -> None:
    made.row("Viewers")
    made.add(
        lines(
            "Viewers",
            "People who watch each view.",
            "none",
            Query(or_zero(f"sum by (view) (streamd_viewers{{{MINE}}})"), "{{view}}"),
            stacked=True,
        ),
        8,
    )
    made.add(
        lines(
            "Packets dropped",
            "Left out for viewers whose connection is too slow, up to the next keyframe. Nobody else notices.",
            PER_SECOND,
            Query(rate("streamd_viewer_packets_dropped_total"), "dropped"),
        ),
        8,
    )
    made.add(
        lines(
            "Keyframe requests",
            "join: a new viewer. pli: a viewer lost packets. overflow: one was too slow. "
            "segment: a recording's next file.",
            PER_SECOND,
            Query(or_zero(rate("streamd_keyframe_requests_total", "reason")), "{{reason}}"),
            stacked=True,
        ),
        8,
    )


def _source(made: Board) -> None:
    made.row("Source")
    made.add(states("State", "What the stream did when.", Query(state_number(MINE), "{{stream}}")), 12)
    restarts = f"sum by (reason) (increase(streamd_source_restarts_total{{{MINE}}}[$__rate_interval]))"
    made.add(
        lines(
            "Reconnects by reason",
            "Times the source was opened again since the point before. unreachable: nobody answers. stalled: it went "
            "silent. rejected: user or password. ended: it hung up. unsupported: no video in it.",
            "none",
            Query(or_zero(restarts), "{{reason}}"),
            stacked=True,
        ),
        12,
    )
