"""All streams of all boxes on one page."""

from __future__ import annotations

from configs.grafana.generate.board import Board
from configs.grafana.generate.panels import (
    FPS,
    PER_SECOND,
    STATES,
    Column,
    Query,
    at_least,
    at_most,
    lines,
    number,
    or_zero,
    rows,
    states,
)

MINE = 'instance=~"$instance", stream=~"$stream"'
BY = "by (instance, stream)"
LEGEND = "{{stream}} ({{instance}})"
LOST = (
    f"streamd_source_up{{{MINE}}} == 0 unless on (job, instance, stream) "
    f'streamd_stream_state{{{MINE}, state=~"idle|ended"}} == 1'
)
BUCKETS = f"rate(streamd_capture_to_publish_seconds_bucket{{{MINE}}}[$__rate_interval])"
P95 = f"histogram_quantile(0.95, sum by (instance, stream, le) ({BUCKETS}))"
LINK = (
    "/d/streamd-stream?var-datasource=${datasource}&var-instance=${__data.fields.Instance}&var-stream=${__value.text}"
)


def rate(counter: str, more: str = "") -> str:
    return f"sum {BY} (rate({counter}{{{MINE}{more}}}[$__rate_interval]))"


def state_number(selector: str) -> str:
    """Of each stream, from 1 on in the order of ``STATES``."""
    terms = [f'{place} * streamd_stream_state{{{selector}, state="{state}"}}' for place, state in enumerate(STATES, 1)]
    return f"sum {BY} ({' or '.join(terms)})"


def board() -> Board:
    made = Board(
        "streamd-overview", "streamd: all streams", "Every camera of every box: does it run, how fast, for whom?"
    )
    _totals(made)
    _streams(made)
    _over_time(made)
    return made


def _totals(made: Board) -> None:
    made.row("Totals")
    made.add(
        number(
            "Running",
            "Streams that deliver pictures now. Those that sleep until somebody looks are not counted.",
            "none",
            Query(f'sum(streamd_stream_state{{{MINE}, state="running"}})'),
        ),
        4,
        4,
    )
    made.add(
        number(
            "Without a picture",
            "Streams whose source delivers nothing although it should.",
            "none",
            Query(or_zero(f"count({LOST})")),
            thresholds=at_most(1, 1),
        ),
        4,
        4,
    )
    made.add(
        number(
            "Viewers",
            "People who watch now, over all views.",
            "none",
            Query(or_zero(f"sum(streamd_viewers{{{MINE}}})")),
        ),
        4,
        4,
    )
    made.add(
        number(
            "Depth frames",
            "Frames that went through the network, over all streams.",
            FPS,
            Query(f"sum(rate(streamd_capture_to_publish_seconds_count{{{MINE}}}[$__rate_interval]))"),
        ),
        4,
        4,
    )
    made.add(
        number(
            "Not recorded",
            "Views that should be recorded and are not.",
            "none",
            Query(or_zero(f"sum(streamd_recording_wanted{{{MINE}}} - streamd_recording_active{{{MINE}}})")),
            thresholds=at_most(1, 1),
        ),
        4,
        4,
    )
    made.add(
        number(
            "Alerts",
            "Alerts of streamd's rules that fire now; needs configs/prometheus/alert_rules.yml.",
            "none",
            Query(or_zero('sum(ALERTS{alertname=~"Streamd.+", alertstate="firing"})')),
            thresholds=at_most(1, 1),
        ),
        4,
        4,
    )


def _streams(made: Board) -> None:
    made.row("Streams")
    columns = (
        Column("State", f"sum by (instance, stream, state) (streamd_stream_state{{{MINE}}} == 1)", label="state"),
        Column("Camera", rate("streamd_frames_captured_total"), FPS),
        Column("Depth", rate("streamd_capture_to_publish_seconds_count"), FPS),
        Column("Latency p95", P95, "s", thresholds=at_most(0.25, 0.5)),
        Column("Viewers", f"sum {BY} (streamd_viewers{{{MINE}}}) or 0 * sum {BY} (streamd_source_up{{{MINE}}})"),
        Column(
            "Flicker",
            f"sum {BY} (streamd_depth_flicker_ratio{{{MINE}}})",
            "percentunit",
            thresholds=at_most(0.03, 0.05),
        ),
    )
    text = "A line for each stream; its name leads to the stream in depth."
    made.add(rows("Streams", text, ("stream", "instance"), columns, LINK), 24, 10)
    made.add(states("States", "What each stream did when.", Query(state_number(MINE), LEGEND)), 24)


def _over_time(made: Board) -> None:
    made.row("Over time")
    made.add(
        lines(
            "Depth frames",
            "Frames that went through the network.",
            FPS,
            Query(rate("streamd_capture_to_publish_seconds_count"), LEGEND),
        ),
        12,
    )
    made.add(
        lines(
            "Latency p95",
            "From the decoded frame to its encoded depth picture. Dashed: where StreamdLatencyHigh begins.",
            "s",
            Query(P95, LEGEND),
            thresholds=at_most(0.5, 0.5),
        ),
        12,
    )
    skipped = f"{rate('streamd_frames_skipped_total')} / {rate('streamd_frames_captured_total')}"
    made.add(
        lines(
            "Skipped",
            "Frames left out, as a share of those captured. To keep up is no fault; one stream's dashboard has why.",
            "percentunit",
            Query(or_zero(skipped), LEGEND),
        ),
        12,
    )
    made.add(
        lines(
            "Viewers",
            "People who watch, over all views.",
            "none",
            Query(or_zero(f"sum {BY} (streamd_viewers{{{MINE}}})"), LEGEND),
            stacked=True,
        ),
        12,
    )
    made.add(
        lines(
            "Reconnects",
            "Times each source was opened again.",
            PER_SECOND,
            Query(or_zero(rate("streamd_source_restarts_total")), LEGEND),
        ),
        12,
    )
    made.add(
        lines(
            "Sources up",
            "The share of the streams that should deliver and do.",
            "percentunit",
            Query(
                f"1 - (count by (instance) ({LOST}) or 0 * count by (instance) (streamd_source_up{{{MINE}}})) "
                f"/ count by (instance) (streamd_source_up{{{MINE}}})",
                "{{instance}}",
            ),
            thresholds=at_least(0.99, 1),
            max_value=1,
        ),
        12,
    )
