"""The doctor: what it finds on machines that are well, and on those that are not."""

from __future__ import annotations

import importlib.metadata
import io
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from streamd import cli, doctor
from streamd.concurrency import threads
from streamd.config.load import parse
from streamd.config.sections import Config, WebRtcConfig
from streamd.depth import artefact
from streamd.depth.store import ModelStore
from streamd.doctor import inputs, machine, software, webrtc
from streamd.doctor.finding import Check, Finding
from streamd.errors import ConfigError, Problem
from streamd.host import cgroup
from streamd.sinks.webrtc import advertise as advertising
from streamd.sinks.webrtc import ice, probe
from streamd.sinks.webrtc.ports import NoPort
from streamd.sources import v4l2

SECRET = "hunter2"


def found(check: Check, **config: Any) -> list[Finding]:
    return list(check(parse(config)))


def only(check: Check, **config: Any) -> Finding:
    (finding,) = found(check, **config)
    return finding


class TestReport:
    def test_every_check_yields_under_its_name_on_any_machine(self) -> None:
        findings = list(doctor.examine(Config()))
        assert {check.__name__ for check in doctor.CHECKS} - {each.check for each in findings} == {"streams"}
        assert not [each for each in findings if "could not be looked at" in each.found]

    def test_a_check_that_fails_leaves_the_others(self) -> None:
        def broken(config: Config) -> Iterator[Finding]:
            yield Finding("broken", "ok", "half of it")
            raise RuntimeError(f"rtsp://admin:{SECRET}@camera/")

        def missing(config: Config) -> Iterator[Finding]:
            raise ImportError("No module named 'av'")
            yield

        def well(config: Config) -> Iterator[Finding]:
            yield Finding("well", "ok", "fine")

        findings = list(doctor.examine(Config(), (broken, missing, well)))
        assert [(each.check, each.status) for each in findings] == [
            ("broken", "problem"),
            ("missing", "problem"),
            ("well", "ok"),
        ]
        assert SECRET not in repr(findings)

    def test_a_line_each_and_the_advice_below(self) -> None:
        out = io.StringIO()
        doctor.show(Finding("port", "ok", "is free"), out)
        doctor.show(Finding("models", "warning", "missing", "fetch it"), out)
        assert out.getvalue() == (
            "ok      port       is free\n"
            "warning models     missing\n"
            "                   -> fetch it\n"
        )  # fmt: skip

    @pytest.mark.parametrize(("no_color", "colored"), [(None, True), ("1", False)])
    def test_colour_on_a_terminal_that_wants_it(
        self, monkeypatch: pytest.MonkeyPatch, no_color: str | None, colored: bool
    ) -> None:
        monkeypatch.delenv("NO_COLOR", raising=False)
        if no_color:
            monkeypatch.setenv("NO_COLOR", no_color)
        out = io.StringIO()
        out.isatty = lambda: True  # type: ignore[method-assign]
        doctor.show(Finding("port", "problem", "is taken"), out)
        assert ("\033[31m" in out.getvalue()) is colored

    def test_the_worst_counts(self) -> None:
        well, odd, bad = (Finding("x", status, "") for status in ("ok", "warning", "problem"))  # type: ignore[arg-type]
        assert [doctor.worst(each) for each in ([], [well], [well, odd], [bad, odd])] == [
            "ok",
            "ok",
            "warning",
            "problem",
        ]

    def test_json(self) -> None:
        document = json.loads(doctor.as_json([Finding("disk", "warning", "full", "free some", {"free_bytes": 1})]))
        assert document["status"] == "warning"
        assert document["findings"] == [
            {
                "check": "disk",
                "status": "warning",
                "found": "full",
                "advice": "free some",
                "details": {"free_bytes": 1},
            }
        ]

    def test_a_configuration(self) -> None:
        (good,) = doctor.of_config("a.toml", None)
        assert (good.status, good.found) == ("ok", "a.toml is valid")
        bad = doctor.of_config("a.toml", ConfigError([Problem("a.b", "1", "wrong"), Problem("c", "", "unknown")]))
        assert [(each.status, each.found) for each in bad] == [("problem", "a.b: 1: wrong"), ("problem", "c: unknown")]

    def test_neither_torch_nor_telemetry_is_loaded(self) -> None:
        script = (
            "import sys; from streamd.cli import main; code = main(['doctor', '--json']);"
            "assert 'torch' not in sys.modules and sys.modules['openvino_telemetry'] is None; sys.exit(code)"
        )
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
        assert "AssertionError" not in done.stderr
        assert json.loads(done.stdout)["version"]


class TestControlGroups:
    @pytest.fixture
    def groups(self, tmp_path: Path) -> Callable[[str, dict[str, str]], tuple[Path, Path]]:
        def make(cgroup: str, files: dict[str, str]) -> tuple[Path, Path]:
            (tmp_path / "proc/self").mkdir(parents=True)
            (tmp_path / "proc/self/cgroup").write_text(cgroup)
            for name, text in files.items():
                file = tmp_path / "sys" / name
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text)
            return tmp_path / "proc", tmp_path / "sys"

        return make

    V2 = "0::/system.slice/streamd.service\n"
    V1 = "5:cpuset:/\n4:memory:/docker/x\n2:cpuacct,cpu:/\n0::/\n"

    @pytest.mark.parametrize(
        ("cgroup_text", "files", "limit"),
        [
            ("", {}, None),
            (V2, {}, None),
            (V2, {"system.slice/streamd.service/memory.max": "max\n"}, None),
            (V2, {"system.slice/streamd.service/memory.max": "500000\n"}, 500_000),
            (V2, {"system.slice/streamd.service/memory.max": "max\n", "system.slice/memory.max": "400000\n"}, 400_000),
            (V2, {"memory.max": "300\n", "system.slice/memory.max": "400\n"}, 300),
            (V1, {"memory/docker/x/memory.limit_in_bytes": "9223372036854771712\n"}, None),
            (V1, {"memory/docker/x/memory.limit_in_bytes": "700\n", "memory/memory.limit_in_bytes": "900"}, 700),
            (V1, {"memory/memory.limit_in_bytes": "900\n"}, 900),
            ("nonsense", {}, None),
        ],
    )
    def test_memory(self, groups: Any, cgroup_text: str, files: dict[str, str], limit: int | None) -> None:
        assert cgroup.memory_limit_bytes(*groups(cgroup_text, files)) == limit

    @pytest.mark.parametrize(
        ("cgroup_text", "files", "limit"),
        [
            (V2, {}, None),
            (V2, {"system.slice/streamd.service/cpu.max": "max 100000\n"}, None),
            (V2, {"system.slice/streamd.service/cpu.max": "150000 100000\n"}, 1.5),
            (V2, {"system.slice/cpu.max": "50000 100000", "system.slice/streamd.service/cpu.max": "max 100000"}, 0.5),
            (V1, {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
            (V1, {"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 2.0),
        ],
    )
    def test_cpu(self, groups: Any, cgroup_text: str, files: dict[str, str], limit: float | None) -> None:
        assert cgroup.cpu_limit(*groups(cgroup_text, files)) == limit


class TestMachine:
    @pytest.mark.parametrize(
        ("flags", "status", "words"),
        [
            ("sse avx2 avx512f avx512_bf16 avx512_vnni amx_tile", "ok", "AVX2, AVX-512, bf16, AMX, int8 VNNI"),
            ("sse avx2", "ok", "X: AVX2"),
            ("fp asimd asimddp", "ok", "int8 VNNI, NEON"),
            ("sse4_2", "warning", "no vector instructions known"),
        ],
    )
    def test_processor(self, monkeypatch: pytest.MonkeyPatch, flags: str, status: str, words: str) -> None:
        monkeypatch.setattr(artefact, "cpu", lambda: ("X", flags))
        finding = only(machine.processor)
        assert finding.status == status
        assert words in finding.found

    @pytest.mark.parametrize(
        ("quota", "wanted", "advice"),
        [
            (None, "auto", ""),
            (None, 2, ""),
            (1.5, "auto", "set model.threads = 2: more only wait"),
            (None, 9, "set model.threads = 4: more only wait"),
            (8.0, 4, ""),
        ],
    )
    def test_threads(self, monkeypatch: pytest.MonkeyPatch, quota: float | None, wanted: Any, advice: str) -> None:
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1, 2, 3})
        monkeypatch.setattr(cgroup, "cpu_limit", lambda: quota)
        finding = only(machine.threads, model={"threads": wanted})
        assert (finding.status, finding.advice) == ("warning" if advice else "ok", advice)

    @pytest.mark.parametrize(
        ("limit", "wanted_mb", "status"), [(None, 128, "ok"), (10**9, 128, "ok"), (10**9, 800, "warning")]
    )
    def test_memory(self, monkeypatch: pytest.MonkeyPatch, limit: int | None, wanted_mb: int, status: str) -> None:
        monkeypatch.setattr(cgroup, "memory_limit_bytes", lambda: limit)
        finding = only(machine.memory, model={"memory_limit_mb": wanted_mb})
        assert finding.status == status
        assert ("limited to 1.0 GB" in finding.found) is (limit is not None)

    def test_a_free_port(self) -> None:
        finding = only(machine.port, server={"listen": "127.0.0.1:0"})
        assert (finding.status, finding.found) == ("ok", "127.0.0.1:0 is free")

    def test_an_address_that_is_not_ours(self) -> None:
        finding = only(machine.port, server={"listen": "192.0.2.1:80", "allow_anonymous": True})
        assert finding.status == "problem"
        assert "cannot assign requested address" in finding.found

    @pytest.mark.parametrize(
        ("body", "status", "words"),
        [(b'{"status": "ok"}', "ok", "streamd answers there"), (b"hello", "problem", "taken by another program")],
    )
    def test_a_port_that_is_taken(self, body: bytes, status: str, words: str) -> None:
        with serving(body) as number:
            finding = only(machine.port, server={"listen": f"127.0.0.1:{number}"})
        assert finding.status == status
        assert words in finding.found
        assert (f"sport = :{number}" in finding.advice) is (status == "problem")

    def test_udp(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert only(machine.udp).status == "ok"

        def refused(*args: Any, **options: Any) -> socket.socket:
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(socket, "socket", refused)
        assert only(machine.udp).found == "no UDP on this machine: operation not permitted"

    def test_disk(self, tmp_path: Path) -> None:
        findings = found(machine.disk, recording={"directory": str(tmp_path / "not/yet"), "min_free_gb": 0})
        assert [each.details["use"] for each in findings] == ["recordings", "models", "cache"]
        assert {each.status for each in findings} == {"ok"}
        findings = found(machine.disk, recording={"directory": str(tmp_path), "min_free_gb": 10**9})
        assert [each.status for each in findings] == ["problem", "warning", "warning"]

    def test_a_directory_that_we_may_not_write(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
        finding = found(machine.disk, recording={"directory": str(tmp_path), "min_free_gb": 0})[0]
        assert finding.status == "problem"
        assert "may not write" in finding.found

    def test_a_file_where_a_directory_should_be(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        assert found(machine.disk, recording={"directory": str(tmp_path / "file")})[0].status == "problem"


@contextmanager
def serving(body: bytes) -> Iterator[int]:
    """A web server that says the same to all."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threads.start("serving", lambda: server.serve_forever(poll_interval=0.02))
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


class TestSoftware:
    def test_packages(self) -> None:
        listed, loads = found(software.packages)
        assert (listed.status, loads.status) == ("ok", "ok")
        assert {"torch", "openvino", "av"} <= listed.details.keys()
        assert "pytest" not in listed.details

    def test_a_package_that_is_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        version = importlib.metadata.version

        def without_torch(name: str) -> str:
            if name == "torch":
                raise importlib.metadata.PackageNotFoundError(name)
            return version(name)

        monkeypatch.setattr(importlib.metadata, "version", without_torch)
        finding = found(software.packages)[0]
        assert (finding.status, finding.found, finding.advice) == ("problem", "missing: torch", "pip install torch")

    def test_a_streamd_that_was_not_installed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def unknown(name: str) -> list[str]:
            raise importlib.metadata.PackageNotFoundError(name)

        monkeypatch.setattr(importlib.metadata, "requires", unknown)
        packages, openvino = found(software.packages)
        assert (packages.status, openvino.status) == ("warning", "ok")

    def test_an_openvino_that_does_not_load(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "streamd.depth.ov", None)
        finding = found(software.packages)[1]
        assert finding.status == "problem"
        assert "does not load" in finding.found

    def test_codecs(self) -> None:
        assert {finding.status for finding in found(software.codecs)} == {"ok"}

    def test_codecs_that_are_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(software.DECODERS, "no-such-codec", "Odd")
        monkeypatch.setattr(software, "ENCODER", "libnone")
        monkeypatch.setattr(software, "_has_tls", lambda: False)
        assert [(each.status, each.found.partition(";")[2] or each.found) for each in found(software.codecs)] == [
            ("warning", " not Odd"),
            ("problem", "has no libnone: nothing can be published"),
            ("warning", "no tls: such cameras do not open"),
        ]

    @pytest.mark.parametrize(
        ("config", "status", "words"),
        [
            ({}, "warning", "embedded stands in"),
            ({"fallback": ""}, "problem", "not on this machine"),
            ({"name": "embedded"}, None, ""),
        ],
    )
    def test_models_that_are_missing(self, config: dict[str, str], status: str | None, words: str) -> None:
        by_name = {finding.found.partition(":")[0]: finding for finding in found(software.models, model=config)}
        assert by_name["embedded"].status == "ok"
        if status is None:
            assert "midas_small" not in by_name
            return
        assert by_name["midas_small"].status == status
        assert words in by_name["midas_small"].found
        assert by_name["midas_small"].advice == "streamd models fetch midas_small"

    def test_a_model_that_was_cut_short(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("STREAMD_HOME", str(tmp_path))
        weights = tmp_path / "weights.pt"
        weights.write_bytes(b"0123456789")
        store = ModelStore(tmp_path / "models", tmp_path / "cache", check=lambda spec, path: None)
        manifest = store.import_file("midas_small", weights)
        (tmp_path / "models/midas_small" / manifest.file).write_bytes(b"01234")
        finding = found(software.models)[0]
        assert finding.status == "problem"
        assert "5 bytes are left of 10" in finding.found


SIZES = (v4l2.Size(640, 480, (Fraction(30),)), v4l2.Size(1280, 720, (Fraction(30),)))
CAMERA = v4l2.Camera(
    "/dev/video0", "HD Cam", "/dev/v4l/by-id/usb-HD", "usb-1", (v4l2.PixelFormat("MJPG", "Motion-JPEG", SIZES),)
)
LOCKED = v4l2.Camera("/dev/video0", "HD Cam", None, "", (), v4l2.trouble(13, "/dev/video0"))
BUSY = v4l2.Camera("/dev/video0", "HD Cam", None, "", CAMERA.formats, v4l2.trouble(16, "/dev/video0"))


class TestInputs:
    @pytest.mark.parametrize(
        ("cameras", "status", "words"),
        [
            ([], "ok", "none on this machine"),
            ([CAMERA], "ok", "HD Cam (v4l2:/dev/v4l/by-id/usb-HD): MJPG up to 1280x720; taken as 1280x720 mjpeg"),
            ([LOCKED], "warning", "no permission"),
            ([BUSY], "warning", "is in use"),
        ],
    )
    def test_cameras(
        self, monkeypatch: pytest.MonkeyPatch, cameras: list[v4l2.Camera], status: str, words: str
    ) -> None:
        monkeypatch.setattr(v4l2, "cameras", lambda: cameras)
        finding = only(inputs.cameras)
        assert finding.status == status
        assert words in finding.found
        assert json.dumps(finding.details) == json.dumps(cameras[0].describe() if cameras else None)

    @pytest.mark.parametrize(
        ("camera", "status"), [(None, "problem"), (CAMERA, "ok"), (LOCKED, "problem"), (BUSY, "warning")]
    )
    def test_a_stream_of_a_webcam(
        self, monkeypatch: pytest.MonkeyPatch, camera: v4l2.Camera | None, status: str
    ) -> None:
        monkeypatch.setattr(v4l2, "camera", lambda path: camera)
        assert only(inputs.streams, streams={"desk": {"source": "v4l2:/dev/v4l/by-id/usb-HD"}}).status == status

    def test_streams_that_need_nothing(self, tmp_path: Path) -> None:
        (tmp_path / "a.mp4").touch()
        sources = ("demo:", "lavfi:testsrc2", str(tmp_path / "a.mp4"))
        assert found(inputs.streams, streams={f"s{n}": {"source": source} for n, source in enumerate(sources)}) == []

    def test_a_file_that_is_missing(self) -> None:
        assert only(inputs.streams, streams={"a": {"source": "/nowhere/a.mp4"}}).status == "problem"

    @pytest.mark.parametrize("login", ["", f"admin:{SECRET}@", f"admin:pa/{SECRET}@", f"user:file:/run/{SECRET}@"])
    def test_a_camera_that_listens(self, login: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            where = f"127.0.0.1:{server.getsockname()[1]}"
            finding = only(inputs.streams, streams={"porch": {"source": f"rtsp://{login}{where}/live?token={SECRET}"}})
        assert (finding.status, finding.found) == ("ok", f"porch: {where} answers")

    def test_a_camera_that_does_not(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            number = server.getsockname()[1]
        source = f"http://admin:{SECRET}@127.0.0.1:{number}/"
        finding = only(inputs.streams, streams={"porch": {"source": source}})
        assert (finding.status, finding.found) == ("problem", f"porch: 127.0.0.1:{number}: connection refused")
        assert SECRET not in repr(finding)

    def test_one_that_is_silent(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(inputs, "CONNECT_S", 0.05)
        with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
            address = server.getsockname()
            with socket.create_connection(address), socket.socket() as full:
                full.setblocking(False)
                full.connect_ex(address)  # nobody accepts, and the queue is full: the next one gets no answer
                finding = only(inputs.streams, streams={"porch": {"source": f"rtsp://127.0.0.1:{address[1]}/"}})
        assert (finding.status, finding.found) == ("problem", f"porch: 127.0.0.1:{address[1]}: no answer")

    def test_the_usual_ports_and_what_is_no_url(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[tuple[str, int]] = []
        monkeypatch.setattr(inputs, "_connect", lambda host, port: asked.append((host, port)) or "")
        sources = ("rtsp://127.0.0.1/", "rtsps://[::1]/", "http://cam/", "https://cam/", "rtsp://[bad/")
        findings = found(inputs.streams, streams={f"s{n}": {"source": source} for n, source in enumerate(sources)})
        assert sorted(asked) == [("127.0.0.1", 554), ("::1", 322), ("cam", 80), ("cam", 443)]
        assert [each.status for each in findings] == ["ok"] * 4 + ["problem"]


class TestWebRtc:
    """The words; what happens on the wire is in tests/integration/test_ice.py."""

    @pytest.fixture(autouse=True)
    def addresses(self, monkeypatch: pytest.MonkeyPatch) -> None:
        owners = {"127.0.0.1": "lo", "192.0.2.2": "eth0", "2001:db8::2": "eth0"}
        monkeypatch.setattr(ice, "_owners", lambda: owners)
        monkeypatch.setattr(ice, "_system_addresses", lambda use_ipv4, use_ipv6: ["192.0.2.2", "2001:db8::2"])

    @pytest.mark.parametrize(
        ("interfaces", "findings"),
        [
            ([], [("ok", "viewers are offered 192.0.2.2, 2001:db8::2, 127.0.0.1")]),
            (["eth0"], [("ok", "viewers are offered 192.0.2.2, 2001:db8::2, 127.0.0.1")]),
            (["lo"], [("warning", "viewers are offered 127.0.0.1")]),
            (
                ["eth7", "192.0.2.0/24"],
                [
                    ("problem", "webrtc.interfaces: no address of this box is on eth7"),
                    ("ok", "viewers are offered 192.0.2.2, 127.0.0.1"),
                ],
            ),
        ],
    )
    def test_what_is_offered(self, interfaces: list[str], findings: list[tuple[str, str]]) -> None:
        seen = found(webrtc.offered, webrtc={"interfaces": interfaces})
        assert [(each.status, each.found) for each in seen] == findings

    def test_loopback_is_not_for_others(self) -> None:
        server = {"listen": "0.0.0.0:8080", "allow_anonymous": True}
        assert only(webrtc.offered, server=server).found == "viewers are offered 192.0.2.2, 2001:db8::2"

    @pytest.mark.parametrize(
        ("ports", "advertise", "status", "text"),
        [
            ("8189", "203.0.113.5", "ok", "and 203.0.113.5 (advertised)"),
            ("auto", "203.0.113.5", "warning", "and 203.0.113.5 (advertised)"),
            ("8189", "home.example", "ok", "and 203.0.113.6 (advertised as home.example)"),
            ("8189", "none.example", "problem", "webrtc.advertise: none.example cannot be looked up"),
        ],
    )
    def test_what_is_advertised(
        self, monkeypatch: pytest.MonkeyPatch, ports: str, advertise: str, status: str, text: str
    ) -> None:
        monkeypatch.setattr(advertising, "resolve", lambda name: ["203.0.113.6"] if name == "home.example" else [])
        finding = found(webrtc.offered, webrtc={"udp_ports": ports, "advertise": [advertise]})[1]
        assert (finding.status, finding.found) == (status, text)

    def test_ports(self) -> None:
        lo = {"interfaces": ["lo"]}
        assert only(webrtc.udp_ports, webrtc=lo).found == "127.0.0.1: any port can be had"
        with socket.socket(type=socket.SOCK_DGRAM) as held:
            held.bind(("127.0.0.1", 0))
            port = held.getsockname()[1]
            single = only(webrtc.udp_ports, webrtc={**lo, "udp_ports": str(port)}, server={"listen": "127.0.0.1:9"})
            assert (single.status, single.found) == (
                "problem",
                f"127.0.0.1: port {port} cannot be had: address already in use",
            )
            first = min(port, 65534)
            few, some = found(webrtc.udp_ports, webrtc={**lo, "udp_ports": f"{first}-{first + 1}"})
            assert (few.status, few.found) == ("warning", "2 ports are for 2 viewers at once")
            assert some.found.startswith("127.0.0.1: ")
        assert only(webrtc.udp_ports, webrtc={**lo, "udp_ports": str(port)}).status == "ok"

    def test_a_port_that_streamd_holds(self) -> None:
        with socket.socket(type=socket.SOCK_DGRAM) as held, serving(b'{"status": "ok"}') as http:
            held.bind(("127.0.0.1", 0))
            settings = {"interfaces": ["lo"], "udp_ports": str(held.getsockname()[1])}
            finding = only(webrtc.udp_ports, webrtc=settings, server={"listen": f"127.0.0.1:{http}"})
        assert finding.status == "ok"
        assert "by the streamd that runs" in finding.found

    @pytest.mark.parametrize(
        ("kind", "failed", "status", "text"),
        [
            ("host", "", "ok", "192.0.2.2: a picture came after 0.5 s"),
            ("host", "ICE", "problem", "192.0.2.2: ICE: no check came through"),
            ("host", "DTLS", "problem", "192.0.2.2: ICE connects, DTLS does not"),
            ("host", "SRTP", "problem", "192.0.2.2: ICE and DTLS connect, no picture comes (SRTP)"),
            ("srflx", "ICE", "warning", "192.0.2.2 (from outside): ICE: no check came through"),
            ("relay", "ICE", "problem", "192.0.2.2 (by TURN): ICE: no check came through"),
        ],
    )
    def test_calls(
        self, monkeypatch: pytest.MonkeyPatch, kind: str, failed: probe.Step, status: str, text: str
    ) -> None:
        async def call(config: WebRtcConfig, *, loopback: bool) -> list[probe.Call]:
            return [probe.Call("192.0.2.2", kind, failed, 0.51)]

        monkeypatch.setattr(probe, "call", call)
        finding = only(webrtc.calls)
        assert (finding.status, finding.found) == (status, text)
        assert bool(finding.advice) is bool(failed)

    def test_calls_on_other_ports_and_none_at_all(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def call(config: WebRtcConfig, *, loopback: bool) -> list[probe.Call]:
            if config.udp_ports == "8189":
                raise NoPort(config.ports)
            return [probe.Call("192.0.2.2", "host", "", 0.51)]

        monkeypatch.setattr(probe, "call", call)
        finding = only(webrtc.calls, webrtc={"udp_ports": "8189"})
        assert (finding.status, finding.found) == ("ok", "192.0.2.2: a picture came after 0.5 s, on other ports")

        async def refuse(config: WebRtcConfig, *, loopback: bool) -> list[probe.Call]:
            raise NoPort(None)

        monkeypatch.setattr(probe, "call", refuse)
        finding = only(webrtc.calls)
        assert (finding.status, finding.found) == (
            "problem",
            "no call was made: no UDP socket for this viewer could be opened; try again",
        )

    def test_servers(self, monkeypatch: pytest.MonkeyPatch) -> None:
        async def ask(url: str, username: str, credential: str) -> str:
            assert credential in ("", SECRET)
            if "away" in url:
                raise TimeoutError("no answer within 2 s")
            if "closed" in url:
                raise ConnectionRefusedError(111, "Connect call failed ('192.0.2.7', 3478)")
            if "unknown" in url:
                raise socket.gaierror(-2, "Name or service not known")
            return "203.0.113.5"

        monkeypatch.setattr(probe, "ask", ask)
        monkeypatch.setenv("TURN_PASSWORD", SECRET)
        known = {"username": "jo", "credential": "env:TURN_PASSWORD"}
        servers = [
            "stun:stun.example",
            "stun:away.example",
            "stun:unknown.example",
            "stuns:stun.example",
            {"urls": ["turn:turn.example", "turn:closed.example?transport=tcp"], **known},
            {"urls": ["turn:secretless.example"], "username": "jo", "credential": "env:NONE"},
        ]
        seen = found(webrtc.servers, webrtc={"ice_servers": servers})
        assert [(each.status, each.found) for each in seen] == [
            ("ok", "stun:stun.example: sees us at 203.0.113.5"),
            ("problem", "stun:away.example: no answer within 2 s"),
            ("problem", "stun:unknown.example: name or service not known"),
            ("warning", "stuns:stun.example: for viewers only: streamd has no use for this kind"),
            ("ok", "turn:turn.example: gives us 203.0.113.5"),
            ("problem", "turn:closed.example?transport=tcp: connection refused"),
            ("problem", "turn:secretless.example: the environment variable NONE with its credential is not set"),
        ]
        assert SECRET not in repr(seen)
        assert only(webrtc.servers).found == "no STUN or TURN server is configured, and none is used"

    def test_what_cannot_be_tested(self) -> None:
        assert "let UDP 50000-50099 through" in only(webrtc.outside, webrtc={"udp_ports": "50000-50099"}).advice
        assert "let UDP through" in only(webrtc.outside).advice

    @pytest.mark.usefixtures("logging_restored")
    def test_the_option_asks_for_these_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        asked: list[tuple[Check, ...]] = []

        def examine(config: Config, checks: tuple[Check, ...] = doctor.CHECKS) -> Iterator[Finding]:
            asked.append(checks)
            return iter(())

        monkeypatch.setattr(doctor, "examine", examine)
        assert [cli.main(["doctor"]), cli.main(["doctor", "--webrtc"])] == [0, 0]
        assert asked == [doctor.CHECKS, doctor.WEBRTC]
