"""Every metric that streamd exports, in one registry.

Base units, ``_total`` on counters, and labels that come from the configuration alone, never a
session id, an address or a URL: their number is bounded.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, disable_created_metrics
from prometheus_client.process_collector import ProcessCollector

from streamd.config.sections import RECORDED_VIEWS, VIEWS
from streamd.states import Change, KeyframeReason, LossReason, SkipReason, StreamState, WorkerEnd
from streamd.telemetry.statistics import Rate

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series per counter, of no use here

ZONE_KINDS = ("near", "clear")
STAGE_BUCKETS = (0.002, 0.004, 0.008, 0.016, 0.025, 0.035, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0)


class Metrics:
    """One per daemon; tests make their own."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self._endpoints = 0
        reg = self.registry
        stream = ["stream"]
        self.captured = Counter("streamd_frames_captured", "Frames decoded from the source.", stream, registry=reg)
        self.skipped = Counter(
            "streamd_frames_skipped", "Frames left out, by reason.", ["stream", "reason"], registry=reg
        )
        self.inferences = Counter("streamd_inferences", "Frames that the network saw.", stream, registry=reg)
        self.unchanged = Counter(
            "streamd_frames_unchanged",
            "Frames in which nothing had changed: they took the last depth.",
            stream,
            registry=reg,
        )
        self.published = Counter(
            "streamd_frames_published", "Pictures encoded and handed to the hub.", ["stream", "view"], registry=reg
        )
        self.stage = Histogram(
            "streamd_stage_seconds",
            "Time a frame spends in each stage.",
            ["stream", "stage"],
            buckets=STAGE_BUCKETS,
            registry=reg,
        )
        self.capture_to_publish = Histogram(
            "streamd_capture_to_publish_seconds",
            "From the decoded frame to its encoded depth picture.",
            stream,
            buckets=STAGE_BUCKETS,
            registry=reg,
        )
        self.source_up = Gauge("streamd_source_up", "1 while the source delivers frames.", stream, registry=reg)
        self.source_restarts = Counter(
            "streamd_source_restarts", "Times the source was opened again.", ["stream", "reason"], registry=reg
        )
        self.state = Gauge(
            "streamd_stream_state", "1 for the state the stream is in.", ["stream", "state"], registry=reg
        )
        self.viewers = Gauge("streamd_viewers", "Viewers now.", ["stream", "view"], registry=reg)
        self.viewer_drops = Counter(
            "streamd_viewer_packets_dropped", "Packets dropped because a viewer was slow.", stream, registry=reg
        )
        self.keyframe_requests = Counter(
            "streamd_keyframe_requests", "Keyframes asked for.", ["stream", "reason"], registry=reg
        )
        self.flicker = Gauge(
            "streamd_depth_flicker_ratio",
            "Mean change of the shown depth where the picture did not change, as a share of the range.",
            stream,
            registry=reg,
        )
        self.recorded_bytes = Counter("streamd_recorded_bytes", "Bytes written to recordings.", stream, registry=reg)
        self.recording_wanted = Gauge(
            "streamd_recording_wanted", "1 for a view that is to be recorded.", ["stream", "view"], registry=reg
        )
        self.recording_active = Gauge(
            "streamd_recording_active",
            "1 for a view that is recorded; 0 while its disk is full, away or does not answer.",
            ["stream", "view"],
            registry=reg,
        )
        self.push_up = Gauge(
            "streamd_push_up",
            "1 while this target of the stream's push takes it, by its number in the list.",
            ["stream", "target"],
            registry=reg,
        )
        self.events = Counter(
            "streamd_events",
            "Times that something came near in a zone, or was gone.",
            ["stream", "zone", "kind"],
            registry=reg,
        )
        self.disk_free = Gauge("streamd_disk_free_bytes", "Free space where recordings go.", registry=reg)
        self.disk_free.set(math.nan)  # not 0: nothing is known of it until something is recorded
        self.disk_min_free = Gauge(
            "streamd_disk_min_free_bytes", "Recording stops below this: recording.min_free_gb.", registry=reg
        )
        self.disk_min_free.set(math.nan)
        self.loop_lag = Gauge(
            "streamd_event_loop_lag_seconds",
            "The worst lateness of the event loop's heartbeat in the last 30 seconds.",
            registry=reg,
        )
        self.worker_restarts = Counter(
            "streamd_worker_restarts", "Times the depth worker was replaced.", ["reason"], registry=reg
        )
        for reason in set(WorkerEnd) - {WorkerEnd.STOPPED}:  # or the first restart would show no increase
            self.worker_restarts.labels(reason)
        self.worker_memory = Gauge(
            "streamd_worker_resident_memory_bytes", "Resident memory of the depth worker.", registry=reg
        )
        self.memory_limit = Gauge(
            "streamd_memory_limit_bytes", "The depth worker's memory ceiling; it is replaced above it.", registry=reg
        )
        self.model = Gauge(
            "streamd_model_info",
            "1 for the model that is running.",
            ["model", "runtime", "precision", "sha256"],
            registry=reg,
        )
        self.endpoint_up = Gauge(
            "streamd_model_endpoint_up",
            "1 while frames may be sent to this one of model.endpoints, by its number in the list.",
            ["endpoint"],
            registry=reg,
        )
        self.input_size = Gauge(
            "streamd_input_size_pixels",
            "What the network is given: model.input_size, or less for min_fps.",
            registry=reg,
        )
        self.build = Info("streamd_build", "Version of streamd.", registry=reg)
        ProcessCollector(registry=reg)

    def of_stream(self, name: str) -> StreamMetrics:
        return StreamMetrics(self, name)

    def forget(self, name: str) -> None:
        """A stream that has been removed leaves no series behind."""
        for metric in vars(self).values():
            if "stream" in getattr(metric, "_labelnames", ()):
                metric.remove_by_labels({"stream": name})

    def show_model(self, model: str, runtime: str, precision: str, sha256: str) -> None:
        """One series at a time: the model that answers now."""
        self.model.clear()
        self.model.labels(model, runtime, precision, sha256).set(1)

    def show_endpoints(self, serving: Sequence[bool]) -> None:
        """Those that there are now."""
        if len(serving) < self._endpoints:
            self.endpoint_up.clear()
        self._endpoints = len(serving)
        for number, serves in enumerate(serving, start=1):
            self.endpoint_up.labels(str(number)).set(serves)


class StreamMetrics:
    """The metrics of one stream, its label bound, looked up once and not per frame."""

    def __init__(self, metrics: Metrics, name: str) -> None:
        self.skips: dict[SkipReason, int] = {}
        """Frames left out since the stream was made, by reason."""
        self.capture_rate = Rate()
        self.inference_rate = Rate()
        self.unchanged_rate = Rate()
        self._name = name
        self._push_up = metrics.push_up
        self._pushes = 0
        self._all_events = metrics.events
        self._events: dict[str, dict[str, Counter]] = {}
        self.captured = metrics.captured.labels(name)
        self.capture_to_publish = metrics.capture_to_publish.labels(name)
        self.source_up = metrics.source_up.labels(name)
        self.viewer_drops = metrics.viewer_drops.labels(name)
        self.flicker = metrics.flicker.labels(name)
        self.recorded_bytes = metrics.recorded_bytes.labels(name)
        # All of them now: a counter that is born with its first event shows no increase, and one that is looked up
        # when a viewer leaves a stream that has been removed would be born again.
        self._skipped = {reason: metrics.skipped.labels(name, reason) for reason in SkipReason}
        self._inferences = metrics.inferences.labels(name)
        self._unchanged = metrics.unchanged.labels(name)
        self._published: dict[str, Counter] = {view: metrics.published.labels(name, view) for view in RECORDED_VIEWS}
        self._restarts = {reason: metrics.source_restarts.labels(name, reason) for reason in LossReason}
        self._keyframe_requests = {reason: metrics.keyframe_requests.labels(name, reason) for reason in KeyframeReason}
        self._viewers: dict[str, Gauge] = {view: metrics.viewers.labels(name, view) for view in VIEWS}
        self._recordings: dict[str, tuple[Gauge, Gauge]] = {
            view: (metrics.recording_wanted.labels(name, view), metrics.recording_active.labels(name, view))
            for view in RECORDED_VIEWS
        }
        self._states = {state: metrics.state.labels(name, state) for state in StreamState}
        self.stages = {
            stage: metrics.stage.labels(name, stage)
            for stage in ("decode", "wait", "preprocess", "infer", "render", "encode")
        }

    def capture(self) -> None:
        self.captured.inc()
        self.capture_rate.tick()

    def skipped(self, reason: SkipReason) -> None:
        self.skips[reason] = self.skips.get(reason, 0) + 1
        self._skipped[reason].inc()

    def depth(self, change: Change) -> None:
        """Of one frame."""
        (self._unchanged if change.reuses_depth else self._inferences).inc()
        (self.unchanged_rate if change.reuses_depth else self.inference_rate).tick()

    @property
    def inferred_share(self) -> float | None:
        """Of the frames of the last seconds, those that had an inference. None: there were none."""
        inferred, unchanged = self.inference_rate.per_second(), self.unchanged_rate.per_second()
        return inferred / (inferred + unchanged) if inferred + unchanged else None

    def published(self, view: str) -> None:
        self._published[view].inc()

    def zones(self, names: Iterable[str]) -> None:
        """Those that there are now."""
        wanted = set(names)
        for gone in self._events.keys() - wanted:
            self._all_events.remove_by_labels({"stream": self._name, "zone": gone})
            del self._events[gone]
        for zone in wanted - self._events.keys():
            self._events[zone] = {kind: self._all_events.labels(self._name, zone, kind) for kind in ZONE_KINDS}

    def zone_event(self, zone: str, kind: str) -> None:
        self._events[zone][kind].inc()

    def restarted(self, reason: LossReason) -> None:
        self._restarts[reason].inc()

    def keyframe_requested(self, reason: KeyframeReason) -> None:
        self._keyframe_requests[reason].inc()

    def viewers(self, view: str, change: int) -> None:
        self._viewers[view].inc(change)

    def recording(self, view: str, *, wanted: bool, active: bool) -> None:
        for gauge, value in zip(self._recordings[view], (wanted, active), strict=True):
            gauge.set(value)

    def pushes(self, up: Sequence[bool]) -> None:
        """Those that there are now."""
        for gone in range(len(up), self._pushes):
            self._push_up.remove_by_labels({"stream": self._name, "target": str(gone)})
        self._pushes = len(up)
        for number, is_up in enumerate(up):
            self._push_up.labels(self._name, str(number)).set(is_up)

    def state(self, state: StreamState) -> None:
        for other in StreamState:
            self._states[other].set(other is state)


def resident_bytes(pid: int) -> int:
    """Resident memory of a process; 0 when it is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
