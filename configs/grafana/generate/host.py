"""The boxes: memory, CPU, disk, and which model runs."""

from __future__ import annotations

from configs.grafana.generate.board import Board
from configs.grafana.generate.panels import (
    PER_SECOND,
    Column,
    Query,
    at_most,
    lines,
    number,
    or_zero,
    rows,
)

MINE = 'instance=~"$instance"'
PROCESS = f'{MINE}, job="streamd"'
BOX = "{{instance}}"


def board() -> Board:
    text = "The boxes that streamd runs on: memory against its limits, CPU, descriptors, disk, model."
    made = Board("streamd-host", "streamd: boxes", text, streams=False)
    _now(made)
    _memory_and_cpu(made)
    _health(made)
    _disk(made)
    return made


def _now(made: Board) -> None:
    made.row("Now")
    made.add(
        number(
            "Boxes up",
            "Boxes whose /metrics answers.",
            "none",
            Query(f"sum(up{{{PROCESS}}})"),
        ),
        4,
        5,
    )
    made.add(
        number(
            "Worker memory",
            "Of the box where it is nearest to the limit. Above it the worker is replaced.",
            "percentunit",
            Query(f"max(streamd_worker_resident_memory_bytes{{{MINE}}} / (streamd_memory_limit_bytes{{{MINE}}} > 0))"),
            thresholds=at_most(0.8, 0.9),
        ),
        4,
        5,
    )
    builds = (
        Column("Version", f"max by (instance, version) (streamd_build_info{{{MINE}}})", label="version"),
        Column("Up for", f"time() - max by (instance) (process_start_time_seconds{{{PROCESS}}})", "s"),
        Column("Streams", f"count by (instance) (streamd_source_up{{{MINE}}})"),
    )
    made.add(rows("Builds", "What runs where, and since when.", ("instance",), builds), 7, 5)
    labels = "instance, model, runtime, precision, sha256"
    models = (Column("Runs", f"max by ({labels}) (streamd_model_info{{{MINE}}})"),)
    made.add(
        rows(
            "Models",
            "The network that answers now. embedded: the weights of the wanted model are not there yet.",
            labels.split(", "),
            models,
        ),
        9,
        5,
    )


def _memory_and_cpu(made: Board) -> None:
    made.row("Memory and CPU")
    made.add(
        lines(
            "Memory",
            "Resident memory of the daemon and of the depth worker, and the worker's limit.",
            "bytes",
            Query(f"process_resident_memory_bytes{{{PROCESS}}}", f"daemon ({BOX})"),
            Query(f"streamd_worker_resident_memory_bytes{{{MINE}}}", f"worker ({BOX})"),
            Query(f"streamd_memory_limit_bytes{{{MINE}}}", f"worker's limit ({BOX})"),
        ),
        12,
    )
    made.add(
        lines(
            "CPU of the daemon",
            "In cores: decoding, drawing, encoding, sending. The depth worker is another process and not in it.",
            "suffix: cores",
            Query(f"rate(process_cpu_seconds_total{{{PROCESS}}}[$__rate_interval])", BOX),
        ),
        12,
    )


def _health(made: Board) -> None:
    made.row("Health")
    made.add(
        lines(
            "Event loop lag",
            "The worst lateness of the event loop in 30 seconds. Dashed: where StreamdEventLoopLag begins.",
            "s",
            Query(f"streamd_event_loop_lag_seconds{{{MINE}}}", BOX),
            thresholds=at_most(0.25, 0.25),
        ),
        8,
    )
    made.add(
        lines(
            "Worker restarts",
            "Times the depth worker was replaced since the point before, by reason.",
            "none",
            Query(
                or_zero(
                    f"sum by (instance, reason) (increase(streamd_worker_restarts_total{{{MINE}}}[$__rate_interval]))"
                ),
                "{{reason}} ({{instance}})",
            ),
            stacked=True,
        ),
        8,
    )
    made.add(
        lines(
            "Open descriptors",
            "Files and sockets, as a share of what the process may open.",
            "percentunit",
            Query(f"process_open_fds{{{PROCESS}}} / process_max_fds{{{PROCESS}}}", BOX),
            thresholds=at_most(0.8, 0.8),
        ),
        8,
    )
    made.add(
        lines(
            "Scrape: time",
            "What a look at /metrics takes Prometheus, network included.",
            "s",
            Query(f"scrape_duration_seconds{{{PROCESS}}}", BOX),
        ),
        12,
    )
    made.add(
        lines(
            "Scrape: size",
            "Series in /metrics. Grows with the streams, not with viewers or time.",
            "none",
            Query(f"scrape_samples_scraped{{{PROCESS}}}", BOX),
        ),
        12,
    )


def _disk(made: Board) -> None:
    made.row("Recordings")
    made.add(
        lines(
            "Free space",
            "Where recordings go, and what the pace of the last hour leaves in six hours. Empty: nothing is recorded.",
            "bytes",
            Query(f"streamd_disk_free_bytes{{{MINE}}}", f"free ({BOX})"),
            Query(f"predict_linear(streamd_disk_free_bytes{{{MINE}}}[1h], 6 * 3600)", f"in six hours ({BOX})"),
            Query(f"streamd_disk_min_free_bytes{{{MINE}}}", f"recording stops ({BOX})"),
        ),
        6,
    )
    made.add(
        lines(
            "Written",
            "Bytes that go to recordings each second, by stream.",
            "Bps",
            Query(
                f"sum by (instance, stream) (rate(streamd_recorded_bytes_total{{{MINE}}}[$__rate_interval]))",
                "{{stream}} ({{instance}})",
            ),
            stacked=True,
        ),
        6,
    )
    made.add(
        lines(
            "Lost at the disk",
            "Packets that a recording could not write as fast as they came.",
            PER_SECOND,
            Query(
                or_zero(
                    "sum by (instance, stream) "
                    f'(rate(streamd_frames_skipped_total{{{MINE}, reason="disk"}}[$__rate_interval]))'
                ),
                "{{stream}} ({{instance}})",
            ),
        ),
        6,
    )
    made.add(
        lines(
            "Not recorded",
            "Views that should be recorded and are not: the disk is full, away, or does not answer.",
            "none",
            Query(
                "sum by (instance, stream, view) "
                f"(streamd_recording_wanted{{{MINE}}} - streamd_recording_active{{{MINE}}})",
                "{{stream}}/{{view}} ({{instance}})",
            ),
            stacked=True,
        ),
        6,
    )
