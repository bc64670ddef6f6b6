"""tests/unit mirrors streamd/: each test module names the module that it is of, and no module is without one.

`streamd/room/name.py` is tested by `tests/unit/room/test_name.py`, and by `test_name_WHAT.py` where one is not enough;
`streamd/room/__init__.py` by `tests/unit/room/test_room.py`.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE, UNIT = ROOT / "streamd", ROOT / "tests" / "unit"
ELSEWHERE = {
    "integration/test_bench.py": "cli/bench depth/trial jobs/stages",
    "integration/test_convert.py": "cli/convert jobs/convert sinks/file",
    "integration/test_convert_files.py": "sinks/endings",
    "integration/test_depth_service.py": """
        depth/estimator depth/launcher depth/profiling depth/runtimes/openvino depth/runtimes/runtime
        depth/runtimes/torch depth/service depth/supervisor depth/worker
    """,
    "integration/test_depth_anything_v2_small.py": "depth/models/depth_anything_v2_small",
    "integration/test_dpt.py": "depth/models/dpt depth/models/dpt_hybrid depth/models/dpt_large depth/models/vit",
    "integration/test_dpt_v3_1.py": "depth/models/dpt_levit_224 depth/models/dpt_swin2_tiny_256",
    "integration/test_embedded.py": "depth/models/embedded",
    "integration/test_export.py": """
        assets/triton_model depth/export/coreml depth/export/export depth/export/onnx depth/export/openvino
        depth/export/reference depth/export/torchscript depth/export/triton depth/export/written
    """,
    "integration/test_fleet.py": "streams/fleet",
    "integration/test_ice.py": "sinks/webrtc/probe",
    "integration/test_int8.py": "depth/int8/deciding depth/int8/quantiser jobs/examples",
    "integration/test_memory_relief.py": "upkeep",
    "integration/test_leres.py": "depth/models/leres",
    "integration/test_manifests.py": "depth/graph/file",
    "integration/test_midas_small.py": """
        depth/graph/openvino depth/graph/ops depth/graph/parameters depth/graph/torch
        depth/models/blocks depth/models/midas_small
    """,
    "integration/test_model_changes.py": "depth/catalogue depth/changes depth/fetcher depth/governing",
    "integration/test_mqtt.py": "notify/broker notify/mqtt",
    "integration/test_onnx.py": "depth/graph/onnx depth/runtimes/onnxruntime",
    "integration/test_record.py": "sinks/recording/recorder sinks/recording/segment",
    "integration/test_profile.py": "depth/child depth/demo_clip depth/ov depth/profile depth/profiler",
    "integration/test_rtsp_readers.py": "sinks/rtsp/session",
    "integration/test_sources.py": "sources/sources sources/decoder sources/lavfi",
    "integration/test_sources_hostile_rtsp.py": "sources/rtsp_dialler sources/rtsp_relay",
    "integration/test_sources_http.py": "sources/http",
    "integration/test_sources_live.py": "sources/hardware",
    "integration/test_sources_pictures.py": "sources/http_pictures",
    "integration/test_sources_rtsp.py": "sources/tls",
    "integration/test_stream.py": """
        streams/capture streams/life streams/pipeline streams/run streams/stream streams/supervisor
    """,
    "integration/test_web_auth.py": "web/session",
    "integration/test_web_calibration.py": "streams/calibrated streams/readings web/calibration",
    "integration/test_web_events.py": "web/app web/context web/schemas",
    "integration/test_web_live.py": "web/live",
    "integration/test_web_trial.py": "streams/trial web/trial",
    "integration/test_web_streams.py": "web/health web/streams",
    "integration/test_web_models.py": "depth/guest web/models",
    "integration/test_web_mjpeg.py": "web/mjpeg web/pictures web/streaming",
    "integration/test_web_recordings.py": "web/recording_files web/recordings",
    "integration/test_web_recorded_time.py": "web/clips web/timeline",
    "integration/test_webrtc.py": "web/whep",
    "integration/test_zipdepth.py": "depth/models/zipdepth",
    "unit/cli/test_run.py": "cli/network",
    "unit/config/test_sections.py": "config/section",
    "unit/depth/remote/test_runtime.py": """
        depth/remote/calibration depth/remote/messages depth/agreement
    """,
    "unit/depth/test_store.py": "depth/download",
    "unit/notify/test_message.py": "streams/events",
    "unit/media/test_depth16.py": "streamd",
    "unit/sinks/rtsp/test_connection.py": "sinks/rtsp/answers sinks/rtsp/description sinks/watched",
    "unit/streams/test_kept.py": "streams/kept_file",
    "unit/sources/test_network.py": "sources/body sources/connection sources/fetch",
}
"""What needs more than a unit test may have, or has its tests with its neighbours: modules, by the test module that
covers them."""


def has_logic(module: Path) -> bool:
    """Whether it does something, beside naming things: the names of metrics, say."""
    return any(
        isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) for node in ast.walk(ast.parse(module.read_text()))
    )


def modules() -> dict[str, Path]:
    """By ``room/name``; a package itself is ``room/room``, and its ``__main__`` is ``room/main``."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.parent.name if path.name == "__init__.py" else path.stem
        found[str(path.relative_to(PACKAGE).with_name(name.strip("_")))] = path
    return found


def names(test: Path) -> list[str]:
    """The modules that it may be of: of ``test_a_b.py`` a_b and a."""
    words = test.stem.removeprefix("test_").split("_")
    room = test.relative_to(UNIT).parent
    return [str(room / "_".join(words[:count])) for count in range(len(words), 0, -1)]


TESTS = sorted(UNIT.rglob("test_*.py"))
COVERED = {module: test for test, covered in ELSEWHERE.items() for module in covered.split()}


@pytest.mark.parametrize("test", TESTS, ids=lambda test: str(test.relative_to(UNIT)))
def test_a_test_module_names_the_module_that_it_is_of(test: Path) -> None:
    assert set(names(test)) & set(modules()), f"there is none of {names(test)} in streamd/"


@pytest.mark.parametrize("module", [name for name, path in modules().items() if has_logic(path)])
def test_a_module_has_its_tests(module: str) -> None:
    if any(module in names(test) for test in TESTS):
        assert module not in COVERED, "it has unit tests: take it out of ELSEWHERE"
    else:
        assert module in COVERED, f"write tests/unit/{Path(module).with_name('test_' + Path(module).name)}.py"
        assert (ROOT / "tests" / COVERED[module]).exists()


def test_the_list_names_modules() -> None:
    assert set(COVERED) <= set(modules())
