"""The HTTP contract: health, metrics, streams, snapshots, stills, WHEP's edges, errors, no secrets."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open_metrics

from tests.e2e.conftest import StartDaemon
from tests.e2e.pictures import INFERNO, Rgb, difference, make_still, off_inferno, read
from tests.e2e.processes import Answer, Daemon, Metrics
from tests.support.waiting import until

NAME, WIDTH, HEIGHT = "lavfi-smptebars", 320, 180
BARS = f"smptebars=size={WIDTH}x{HEIGHT}"
VIEWS = ("depth", "overlay", "side-by-side", "source", "gray", "rgbd")
SDP, FRAGMENT = {"Content-Type": "application/sdp"}, {"Content-Type": "application/trickle-ice-sdpfrag"}
PNG = {"Content-Type": "image/png"}
MIB = 2**20
METRICS = {
    "streamd_frames_captured_total",
    "streamd_frames_skipped_total",
    "streamd_frames_published_total",
    "streamd_stage_seconds_bucket",
    "streamd_capture_to_publish_seconds_bucket",
    "streamd_source_up",
    "streamd_source_restarts_total",
    "streamd_stream_state",
    "streamd_viewers",
    "streamd_viewer_packets_dropped_total",
    "streamd_keyframe_requests_total",
    "streamd_depth_flicker_ratio",
    "streamd_recorded_bytes_total",
    "streamd_disk_free_bytes",
    "streamd_event_loop_lag_seconds",
    "streamd_worker_restarts_total",
    "streamd_worker_resident_memory_bytes",
    "process_resident_memory_bytes",
    "streamd_memory_limit_bytes",
    "streamd_model_info",
    "streamd_build_info",
}


@pytest.fixture(scope="module")
def site(module_daemon: StartDaemon) -> Daemon:
    """A stream whose picture stands still, so that snapshots can be compared."""
    return module_daemon(f"lavfi:{BARS}:rate=10").until_ready()


@pytest.fixture(scope="module")
def bars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stream's picture as ffmpeg draws it."""
    return make_still(tmp_path_factory.mktemp("bars") / "bars.png", BARS)


def snapshot(site: Daemon, view: str, format: str = "png") -> Answer:
    answer = site.get(f"/api/v1/streams/{NAME}/snapshot?view={view}&format={format}")
    assert answer.status == 200, answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    return answer


def colours(site: Daemon, view: str) -> Rgb:
    answer = snapshot(site, view)
    assert answer.headers.get_content_type() == "image/png"
    return read(answer.body)  # type: ignore[return-value]


class TestHealth:
    def test_it_lives_and_is_ready(self, site: Daemon) -> None:
        assert site.get("/healthz").status == 200
        assert site.get("/readyz").status == 200

    def test_not_ready_reports_why(self, daemon: StartDaemon) -> None:
        """No weights and nothing to fall back on: it lives, and waits."""
        away = {"STREAMD_MODEL__NAME": "midas_small", "STREAMD_MODEL__FALLBACK": '""', "STREAMD_HOME": "/nonexistent"}
        running = daemon("demo:", model="", **away)
        assert running.get("/healthz").status == 200
        until("it has looked for the model", lambda: "no weights" in running.get("/readyz").text)
        answer = running.get("/readyz")
        assert answer.error == (503, "not_ready")
        assert "Retry-After" in answer.headers
        model, stream = answer.json["reasons"]
        assert model.startswith("model: ")
        assert "streamd models fetch midas_small" in model
        assert stream.startswith("stream demo: starting")

    def test_a_camera_that_is_away_counts_for_the_strict_only(self, daemon: StartDaemon) -> None:
        running = daemon("rtsp://127.0.0.1:9/porch", "demo:")
        until("it has tried", lambda: running.state("127.0.0.1-porch") == "reconnecting")
        until("the other one runs", lambda: running.state("demo") == "running")
        reason = "stream 127.0.0.1-porch: reconnecting"
        lenient, strict = running.get("/readyz"), running.get("/readyz?strict=1")
        assert (lenient.status, lenient.json["status"]) == (200, "ready")
        assert strict.error == (503, "not_ready")
        for answer in (lenient, strict):
            [found] = answer.json["reasons"]
            assert found.startswith(reason)
        assert running.get("/readyz?strict=yes").error == (422, "bad_value")

    def test_a_file_that_has_ended(self, daemon: StartDaemon, clip: Path) -> None:
        """There is nothing to wait for, and nothing to watch."""
        running = daemon(clip)
        assert running.get("/readyz?strict=1").error == (503, "not_ready")
        until("the clip plays", lambda: running.state("clip") == "running")
        assert running.get("/readyz?strict=1").status == 200
        until("the clip has ended", lambda: running.state("clip") == "ended")
        assert running.get("/readyz?strict=1").status == 200
        assert running.get("/api/v1/streams/clip/snapshot").status == 200
        assert running.request("POST", "/whep/clip", b"v=0", SDP).error == (409, "not_running")


class TestMetrics:
    def test_text(self, site: Daemon) -> None:
        answer = site.get("/metrics")
        assert answer.headers.get_content_type() == "text/plain"
        names = Metrics(answer.text).names()
        # Labels that nothing has used yet have no series, but the metric is declared.
        declared = {line.split()[2] for line in answer.text.splitlines() if line.startswith("# TYPE")}
        missing = {name for name in METRICS - names if name not in declared}
        assert not missing

    def test_open_metrics(self, site: Daemon) -> None:
        answer = site.get("/metrics", Accept="application/openmetrics-text; version=1.0.0")
        assert answer.headers.get_content_type() == "application/openmetrics-text"
        assert answer.text.endswith("# EOF\n")
        assert "streamd_frames_captured" in {family.name for family in parse_open_metrics(answer.text)}  # type: ignore[no-untyped-call]

    def test_their_content(self, site: Daemon) -> None:
        metrics = site.metrics()
        assert metrics.value("streamd_stream_state", stream=NAME, state="running") == 1
        assert metrics.value("streamd_stream_state", stream=NAME) == 1
        assert metrics.value("streamd_source_up", stream=NAME) == 1
        assert metrics.value("streamd_model_info", model="embedded", runtime="openvino") == 1


class TestStreams:
    def test_list(self, site: Daemon) -> None:
        answer = site.get("/api/v1/streams").json
        assert [stream["name"] for stream in answer["streams"]] == [NAME]
        assert answer["model"]["name"] == "embedded"
        assert answer["model"]["coarse"] is True

    def test_one(self, site: Daemon) -> None:
        def measured() -> bool:
            stream = site.stream(NAME)
            return stream["fps_in"] > 5 and stream["fps_out"] > 1 and stream["latency_ms"]["p95"] is not None

        until("rates and latency are known", measured)
        stream = site.stream(NAME)
        assert (stream["width"], stream["height"]) == (WIDTH, HEIGHT)
        assert (stream["state"], stream["reason"], stream["viewers"]) == ("running", None, 0)
        assert stream["latency_ms"]["p50"] <= stream["latency_ms"]["p95"]
        assert stream["source"] == f"lavfi:{BARS}:rate=10"
        assert isinstance(stream["skipped"], dict)

    def test_page_and_its_files(self, site: Daemon) -> None:
        page = site.get("/")
        assert page.headers.get_content_type() == "text/html"
        for file in ("app.js", "whep.js", "style.css", "favicon.svg"):
            assert site.get(f"/static/{file}").status == 200
        assert "default-src 'none'" in page.headers["Content-Security-Policy"]


class TestSnapshot:
    def test_source_is_the_picture(self, site: Daemon, bars: Path) -> None:
        assert difference(colours(site, "source"), read(bars.read_bytes())) < 3  # type: ignore[arg-type]

    def test_depth_is_inferno(self, site: Daemon) -> None:
        depth = colours(site, "depth")
        assert depth.shape == (HEIGHT, WIDTH, 3)
        assert off_inferno(depth).max() == 0
        assert len(np.unique(depth.reshape(-1, 3), axis=0)) > 50

    def test_gray_is_the_same_depth(self, site: Daemon) -> None:
        gray = colours(site, "gray")
        assert np.ptp(gray, axis=2).max() == 0
        np.testing.assert_array_equal(INFERNO[gray[..., 0]], colours(site, "depth"))

    def test_overlay_is_half_of_each(self, site: Daemon) -> None:
        half = (colours(site, "source").astype(float) + colours(site, "depth")) / 2
        np.testing.assert_allclose(colours(site, "overlay"), half, atol=1)

    @pytest.mark.parametrize(("view", "right"), [("side-by-side", "depth"), ("rgbd", "gray")])
    def test_two_at_once(self, site: Daemon, view: str, right: str) -> None:
        both = colours(site, view)
        assert both.shape == (HEIGHT, 2 * WIDTH, 3)
        np.testing.assert_array_equal(both[:, :WIDTH], colours(site, "source"))
        np.testing.assert_array_equal(both[:, WIDTH:], colours(site, right))

    @pytest.mark.parametrize("view", VIEWS)
    def test_jpg_in_every_view(self, site: Daemon, view: str) -> None:
        answer = snapshot(site, view, "jpg")
        assert answer.headers.get_content_type() == "image/jpeg"
        assert difference(read(answer.body), colours(site, view)) < 6  # type: ignore[arg-type]

    @pytest.mark.parametrize("view", VIEWS)
    @pytest.mark.parametrize("format", ["png16", "npz", "ply"])
    def test_what_has_no_colour_is_the_same_in_every_view(self, site: Daemon, view: str, format: str) -> None:
        answer = snapshot(site, view, format)
        assert f'"{NAME}-{view}.' in answer.headers["Content-Disposition"]
        check = {"png16": assert_is_png16, "npz": assert_is_npz, "ply": assert_is_ply}[format]
        check(answer.body)

    def test_default_is_depth_as_jpg(self, site: Daemon) -> None:
        answer = site.get(f"/api/v1/streams/{NAME}/snapshot")
        assert answer.headers.get_content_type() == "image/jpeg"
        assert (off_inferno(read(answer.body)) <= 24).mean() > 0.98  # type: ignore[arg-type]


def assert_is_png16(data: bytes) -> None:
    pixels = read(data)
    assert (pixels.dtype, pixels.shape) == (np.uint16, (HEIGHT, WIDTH))
    assert (pixels.min(), pixels.max()) == (0, 65535)
    assert len(np.unique(pixels)) > 1000


def assert_is_npz(data: bytes) -> None:
    with np.load(io.BytesIO(data)) as arrays:
        assert set(arrays) == {
            *("inverse_depth", "network_output"),
            *("model", "sha256", "polarity", "runtime", "precision"),
        }
        assert (arrays["inverse_depth"].dtype, arrays["inverse_depth"].shape) == (np.float32, (HEIGHT, WIDTH))
        # 320x180 is 16:9, which the network sees as 256x128.
        assert (arrays["network_output"].dtype, arrays["network_output"].shape) == (np.float32, (128, 256))
        facts = [str(arrays[key]) for key in ("model", "polarity", "runtime")]
        assert facts == ["embedded", "inverse_depth", "openvino"]
        assert len(str(arrays["sha256"])) == 64
        assert str(arrays["precision"]) in ("fp32", "bf16")


def assert_is_ply(data: bytes) -> None:
    header, _, points = data.partition(b"end_header\n")
    assert header.startswith(b"ply\nformat binary_little_endian 1.0\n")
    assert f"element vertex {WIDTH * HEIGHT}\n".encode() in header
    assert len(points) == WIDTH * HEIGHT * 15


def form(field: str, data: bytes) -> tuple[bytes, dict[str, str]]:
    """A form with one file, as browsers and curl send it."""
    boundary = "----streamd"
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"; filename="a.png"\r\n'
    body = head.encode() + b"Content-Type: image/png\r\n\r\n" + data + f"\r\n--{boundary}--\r\n".encode()
    return body, {"Content-Type": f"multipart/form-data; boundary={boundary}"}


class TestDepth:
    @pytest.mark.parametrize("media_type", ["image/png", "application/octet-stream"])
    def test_raw(self, site: Daemon, bars: Path, media_type: str) -> None:
        answer = site.request("POST", "/api/v1/depth", bars.read_bytes(), {"Content-Type": media_type})
        assert answer.headers.get_content_type() == "image/png"
        picture: Rgb = read(answer.body)  # type: ignore[assignment]
        assert picture.shape == (HEIGHT, WIDTH, 3)
        assert off_inferno(picture).max() == 0

    def test_form(self, site: Daemon, bars: Path) -> None:
        raw = site.request("POST", "/api/v1/depth", bars.read_bytes(), PNG)
        assert site.request("POST", "/api/v1/depth", *form("image", bars.read_bytes())).body == raw.body

    @pytest.mark.parametrize(
        ("format", "check"), [("png16", assert_is_png16), ("npz", assert_is_npz), ("ply", assert_is_ply)]
    )
    def test_formats(self, site: Daemon, bars: Path, format: str, check: object) -> None:
        answer = site.request("POST", f"/api/v1/depth?format={format}&model=embedded", bars.read_bytes(), PNG)
        assert answer.status == 200, answer.text
        assert callable(check)
        check(answer.body)

    @pytest.mark.parametrize("view", VIEWS)
    def test_views(self, site: Daemon, bars: Path, view: str) -> None:
        answer = site.request("POST", f"/api/v1/depth?view={view}", bars.read_bytes(), PNG)
        width = 2 * WIDTH if view in ("side-by-side", "rgbd") else WIDTH
        assert read(answer.body).shape == (HEIGHT, width, 3)

    def test_source_view_gives_the_picture_back(self, site: Daemon, bars: Path) -> None:
        answer = site.request("POST", "/api/v1/depth?view=source", bars.read_bytes(), PNG)
        np.testing.assert_array_equal(read(answer.body), read(bars.read_bytes()))


class TestErrors:
    """Each is JSON with a code and a message that a person can read."""

    @pytest.mark.parametrize(
        ("path", "error"),
        [
            ("/nothing-here", (404, "not_found")),
            ("/static/nothing.js", (404, "not_found")),
            ("/static/..%2fapp.py", (404, "not_found")),
            (f"/static/{'x' * 300}", (404, "not_found")),
            ("/api/v1/streams/nobody", (404, "unknown_stream")),
            ("/api/v1/streams/nobody/snapshot", (404, "unknown_stream")),
            ("/whep/nobody", (404, "unknown_stream")),
            (f"/whep/{NAME}/no-session", (404, "unknown_session")),
            (f"/api/v1/streams/{NAME}/snapshot?view=x-ray", (422, "bad_value")),
            (f"/api/v1/streams/{NAME}/snapshot?format=gif", (422, "bad_value")),
            ("/api/v1/depth", (405, "method_not_allowed")),
        ],
    )
    def test_get(self, site: Daemon, path: str, error: tuple[int, str]) -> None:
        assert site.get(path).error == error

    @pytest.mark.parametrize(
        ("path", "body", "headers", "error"),
        [
            ("/api/v1/depth", b"not a picture", PNG, (422, "bad_picture")),
            ("/api/v1/depth", b"", PNG, (422, "bad_picture")),
            ("/api/v1/depth", b"{}", {"Content-Type": "application/json"}, (415, "wrong_type")),
            ("/api/v1/depth", bytes(33 * MIB), PNG, (413, "too_large")),
            ("/api/v1/depth", *form("photo", b"x"), (422, "bad_value")),
            ("/api/v1/depth", *form("image", b"x"), (422, "bad_picture")),
            ("/api/v1/depth", *form("image", bytes(33 * MIB)), (413, "too_large")),
            ("/api/v1/depth?view=x-ray", b"x", PNG, (422, "bad_value")),
            ("/api/v1/depth?format=gif", b"x", PNG, (422, "bad_value")),
            ("/api/v1/depth?model=midas_small", b"x", PNG, (409, "not_running")),
            ("/api/v1/streams", b"x", PNG, (405, "method_not_allowed")),
            ("/whep/nobody", b"v=0", SDP, (404, "unknown_stream")),
            (f"/whep/{NAME}", b"not an offer", SDP, (400, "bad_offer")),
            (f"/whep/{NAME}", b"v=0", PNG, (415, "wrong_type")),
            (f"/whep/{NAME}", bytes(MIB), SDP, (413, "too_large")),
            (f"/whep/{NAME}?view=x-ray", b"v=0", SDP, (422, "bad_value")),
        ],
        ids=lambda value: f"{len(value)}-bytes" if isinstance(value, bytes) else None,
    )
    def test_post(self, site: Daemon, path: str, body: bytes, headers: dict[str, str], error: tuple[int, str]) -> None:
        assert site.request("POST", path, body, headers).error == error

    @pytest.mark.parametrize(
        ("boundary", "body"),
        [
            ("", b"x"),
            ("; boundary=B", b""),
            ("; boundary=B", b"nothing of a form" * 100),
            ("; boundary=B", b"--B\r\n\x00\xff: :\r\n\r\nx\r\n--B--\r\n"),
            ("; boundary=B", b"--B\r\nContent-Type: multipart/mixed\r\n\r\nx\r\n--B--\r\n"),
        ],
        ids=["no boundary", "empty", "garbage", "bad header", "bad form within"],
    )
    def test_broken_forms(self, site: Daemon, boundary: str, body: bytes) -> None:
        headers = {"Content-Type": f"multipart/form-data{boundary}"}
        assert site.request("POST", "/api/v1/depth", body, headers).error == (400, "bad_request")

    def test_a_form_that_is_cut_short(self, site: Daemon, bars: Path) -> None:
        body, headers = form("image", bars.read_bytes())
        assert site.request("POST", "/api/v1/depth", body[:300], headers).error == (422, "bad_picture")

    def test_a_body_that_is_not_encoded_as_its_header_names(self, site: Daemon) -> None:
        headers = PNG | {"Content-Encoding": "gzip"}
        assert site.request("POST", "/api/v1/depth", b"not gzip at all", headers).error == (422, "bad_picture")

    def test_no_codec_in_common(self, site: Daemon) -> None:
        offer = "\r\n".join(
            [
                *("v=0", "o=- 1 2 IN IP4 127.0.0.1", "s=-", "t=0 0", "a=group:BUNDLE 0"),
                *("m=video 9 UDP/TLS/RTP/SAVPF 98", "c=IN IP4 0.0.0.0", "a=mid:0", "a=recvonly", "a=rtcp-mux"),
                *("a=ice-ufrag:abcd", f"a=ice-pwd:{'x' * 24}", f"a=fingerprint:sha-256 {':'.join(['AB'] * 32)}"),
                *("a=setup:actpass", "a=rtpmap:98 VP9/90000", ""),
            ]
        )
        assert site.request("POST", f"/whep/{NAME}", offer.encode(), SDP).error == (422, "no_codec")

    def test_nobody_to_delete(self, site: Daemon) -> None:
        assert site.request("DELETE", f"/whep/{NAME}/no-session").error == (404, "unknown_session")
        assert site.request("PATCH", f"/whep/{NAME}/no-session", b"a=mid:0", FRAGMENT).error == (404, "unknown_session")

    def test_what_is_no_http(self, site: Daemon) -> None:
        with site.connect() as connection:
            connection.sendall(b"\x16\x03\x01 this is no request\r\n\r\n")
            assert connection.recv(1000).startswith(b"HTTP/1.0 400 ")

    def test_the_log_stays_clean(self, site: Daemon) -> None:
        """All that was a client's fault, not the daemon's: strangers must not fill the disk."""
        assert " ERROR " not in site.log, site.log


class TestWhep:
    @pytest.mark.parametrize("path", [f"/whep/{NAME}", f"/whep/{NAME}/any-session"])
    def test_options(self, site: Daemon, path: str) -> None:
        answer = site.request(
            "OPTIONS", path, headers={"Origin": "https://elsewhere", "Access-Control-Request-Method": "POST"}
        )
        assert answer.status in (200, 204)
        assert answer.headers["Access-Control-Allow-Origin"] == "*"
        assert {"POST", "PATCH", "DELETE"} <= set(answer.headers["Access-Control-Allow-Methods"].split(", "))
        assert {"Authorization", "Content-Type"} <= set(answer.headers["Access-Control-Allow-Headers"].split(", "))
        assert "Location" in answer.headers["Access-Control-Expose-Headers"]
        assert answer.headers["Accept-Post"] == "application/sdp"

    def test_head_and_get(self, site: Daemon) -> None:
        for method in ("HEAD", "GET"):
            answer = site.request(method, f"/whep/{NAME}")
            assert (answer.status, answer.body) == (200, b"")


class TestSecrets:
    @pytest.fixture
    def guarded(self, daemon: StartDaemon, tmp_path: Path) -> Daemon:
        """Cameras that are away, with passwords in their addresses; the most talkative log there is."""
        sources = {
            "gate": "rtsp://user:secret@127.0.0.1:9/x",
            "yard": "http://127.0.0.1:9/video?user=admin&password=secret&x=1",
            "door": "rtsps://user:se@cret-secret@127.0.0.1:9/x?token=secret",
        }
        config = tmp_path / "cameras.toml"
        config.write_text("".join(f"[streams.{name}]\nsource = {json.dumps(url)}\n" for name, url in sources.items()))
        return daemon("--debug", "--config", config, "rtsp://user:secret@127.0.0.1:9/arg")

    def test_are_shown_nowhere(self, guarded: Daemon) -> None:
        names = ("gate", "yard", "door", "127.0.0.1-arg")
        until("all have failed once", lambda: {guarded.state(name) for name in names} == {"reconnecting"})
        until(
            "each was tried again", lambda: guarded.metrics().value("streamd_source_restarts_total") >= 2 * len(names)
        )
        paths = ["/", "/readyz", "/metrics", "/api/v1/streams"]
        paths += [f"/api/v1/streams/{name}" for name in names]
        paths += [f"/whep/{name}" for name in names]
        reported = {path: guarded.get(path).text for path in paths} | {"log": guarded.log, "stdout": guarded.out}
        for where, text in reported.items():
            assert "secret" not in text, where
        assert "***@127.0.0.1:9/x" in reported["/api/v1/streams"]
