"""The contract of design 1.4: names, types and labels."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from streamd.states import KeyframeReason, LossReason, SkipReason, StreamState
from streamd.telemetry.metrics import Metrics, resident_bytes

CONTRACT = {
    "streamd_frames_captured_total": ("counter", {"stream"}),
    "streamd_frames_skipped_total": ("counter", {"stream", "reason"}),
    "streamd_frames_published_total": ("counter", {"stream", "view"}),
    "streamd_inferences_total": ("counter", {"stream"}),
    "streamd_frames_unchanged_total": ("counter", {"stream"}),
    "streamd_stage_seconds": ("histogram", {"stream", "stage"}),
    "streamd_capture_to_publish_seconds": ("histogram", {"stream"}),
    "streamd_source_up": ("gauge", {"stream"}),
    "streamd_source_restarts_total": ("counter", {"stream", "reason"}),
    "streamd_stream_state": ("gauge", {"stream", "state"}),
    "streamd_viewers": ("gauge", {"stream", "view"}),
    "streamd_viewer_packets_dropped_total": ("counter", {"stream"}),
    "streamd_keyframe_requests_total": ("counter", {"stream", "reason"}),
    "streamd_depth_flicker_ratio": ("gauge", {"stream"}),
    "streamd_recorded_bytes_total": ("counter", {"stream"}),
    "streamd_recording_wanted": ("gauge", {"stream", "view"}),
    "streamd_recording_active": ("gauge", {"stream", "view"}),
    "streamd_events_total": ("counter", {"stream", "zone", "kind"}),
    "streamd_disk_free_bytes": ("gauge", set()),
    "streamd_disk_min_free_bytes": ("gauge", set()),
    "streamd_event_loop_lag_seconds": ("gauge", set()),
    "streamd_worker_restarts_total": ("counter", {"reason"}),
    "streamd_worker_resident_memory_bytes": ("gauge", set()),
    "streamd_memory_limit_bytes": ("gauge", set()),
    "streamd_input_size_pixels": ("gauge", set()),
    "streamd_push_up": ("gauge", {"stream", "target"}),
    "streamd_model_endpoint_up": ("gauge", {"endpoint"}),
    "streamd_model_info": ("gauge", {"model", "runtime", "precision", "sha256"}),
    "streamd_build_info": ("gauge", {"version"}),
    "process_resident_memory_bytes": ("gauge", set()),
}


@pytest.fixture
def metrics() -> Metrics:
    """With at least one value in each."""
    metrics = Metrics()
    porch = metrics.of_stream("porch")
    porch.skipped(SkipReason.SUPERSEDED)
    porch.published("depth")
    porch.restarted(LossReason.STALLED)
    porch.keyframe_requested(KeyframeReason.JOIN)
    porch.viewers("depth", +1)
    porch.state(StreamState.RUNNING)
    porch.zones(["door"])
    porch.pushes([True])
    metrics.worker_restarts.labels("memory").inc()
    metrics.show_model("midas_small", "openvino", "bf16", "70d6")
    metrics.show_endpoints([True])
    metrics.build.info({"version": "1"})
    return metrics


def shown(metrics: Metrics) -> str:
    return generate_latest(metrics.registry).decode()


@pytest.mark.parametrize("name", CONTRACT)
def test_it_is_there_with_its_type_and_labels(metrics: Metrics, name: str) -> None:
    kind, labels = CONTRACT[name]
    families = {family.name: family for family in text_string_to_metric_families(shown(metrics))}
    family = families[name.removesuffix("_total") if kind == "counter" else name]
    assert family.type == kind
    assert family.documentation
    assert {label for sample in family.samples for label in sample.labels} - {"le"} == labels
    if kind == "counter":
        assert {sample.name for sample in family.samples} == {name}


def test_there_is_nothing_else(metrics: Metrics) -> None:
    families = text_string_to_metric_families(shown(metrics))
    names = {family.name + "_total" * (family.type == "counter") for family in families}
    assert {name for name in names if not name.startswith("process_")} <= set(CONTRACT)
    assert "_created" not in shown(metrics)


def test_stages_are_those_of_the_path_of_a_frame(metrics: Metrics) -> None:
    assert list(metrics.of_stream("porch").stages) == ["decode", "wait", "preprocess", "infer", "render", "encode"]


def test_a_stream_is_in_one_state_at_a_time(metrics: Metrics) -> None:
    porch = metrics.of_stream("porch")
    for state in StreamState:
        porch.state(state)
        value = metrics.registry.get_sample_value
        states = {other: value("streamd_stream_state", {"stream": "porch", "state": other}) for other in StreamState}
        assert states == {other: float(other == state) for other in StreamState}


def test_one_model_runs_at_a_time(metrics: Metrics) -> None:
    metrics.show_model("embedded", "openvino", "fp32", "abcd")
    lines = [line for line in shown(metrics).splitlines() if line.startswith("streamd_model_info{")]
    assert lines == ['streamd_model_info{model="embedded",precision="fp32",runtime="openvino",sha256="abcd"} 1.0']


def test_streams_are_counted_apart(metrics: Metrics) -> None:
    metrics.of_stream("garden").skipped(SkipReason.SUPERSEDED)
    metrics.of_stream("garden").skipped(SkipReason.SUPERSEDED)
    value = metrics.registry.get_sample_value
    labels = {"reason": "superseded"}
    assert value("streamd_frames_skipped_total", {"stream": "porch", **labels}) == 1
    assert value("streamd_frames_skipped_total", {"stream": "garden", **labels}) == 2


def test_resident_memory_of_a_process() -> None:
    assert 5e6 < resident_bytes(os.getpid()) < 20e9
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert resident_bytes(gone.pid) == 0


def test_targets_of_a_push_by_their_numbers() -> None:
    metrics = Metrics()
    porch = metrics.of_stream("porch")

    def up() -> list[float | None]:
        value = metrics.registry.get_sample_value
        return [value("streamd_push_up", {"stream": "porch", "target": str(number)}) for number in range(3)]

    porch.pushes([True, False])
    assert up() == [1, 0, None]
    porch.pushes([False])
    assert up() == [0, None, None]
    porch.pushes([])
    assert up() == [None, None, None]


def test_endpoints_by_their_numbers() -> None:
    metrics = Metrics()
    metrics.show_endpoints([False, True, True])
    value = metrics.registry.get_sample_value
    assert [value("streamd_model_endpoint_up", {"endpoint": str(n)}) for n in range(5)] == [None, 0, 1, 1, None]
    metrics.show_endpoints([True])
    assert [value("streamd_model_endpoint_up", {"endpoint": str(n)}) for n in range(1, 4)] == [1, None, None]
    metrics.show_endpoints([])
    assert value("streamd_model_endpoint_up", {"endpoint": "1"}) is None
