"""The configuration: its defaults, and the exact line that each fault gets."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest

from streamd.config import schema
from streamd.config.listen import split_address
from streamd.config.load import load, parse
from streamd.config.sections import (
    VIEWS,
    Config,
    ModelConfig,
    ModelName,
    ServerConfig,
    StreamConfig,
    View,
)
from streamd.depth.models import MODELS
from streamd.errors import ConfigError
from tests.support.settings import BUILT_IN, NETWORKS, RUNTIMES

CONFIGS = Path(__file__).parents[3] / "configs"
ADDRESS = "not HOST:PORT, as in 127.0.0.1:8080"
NUMBERS = "should be a whole number"
OPEN = (
    "can be reached from other machines and nobody has to log in: "
    "listen on 127.0.0.1, set server.view_tokens or server.control_tokens, or server.allow_anonymous = true"
)


def problems(data: dict[str, Any], environment: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(None, environment=environment or {}, overrides=data)
    assert caught.value.exit_code == 78
    return str(caught.value).splitlines()


def test_nothing_but_defaults() -> None:
    config = load(None, environment={})
    assert config == Config()
    assert config.streams == {}
    assert (config.server.listen, config.server.loopback) == ("127.0.0.1:8080", True)
    assert (config.model.name, config.model.fallback, config.model.download) == ("midas_small", "embedded", True)
    assert (config.model.runtime, config.model.precision, config.model.input_size) == ("auto", "auto", "auto")
    assert config.recording.directory is None
    assert config.webrtc.max_viewers == 64


def test_a_stream_needs_nothing_but_its_source() -> None:
    stream = StreamConfig(source="demo:")
    assert (stream.transport, stream.realtime, stream.loop, stream.max_fps) == ("tcp", True, False, None)
    assert (stream.height, stream.record, stream.range, stream.compress) == (720, ("depth",), "smooth", "linear")


PORTS = 'not "auto", a port, or a range such as "50000-50099"'
EASY = "has a token that is too easy to guess: 8 characters at least"
DIGEST = "sha256: takes the 64 lower-case digits that `printf %s TOKEN | sha256sum` prints"
ICE = "not stun:HOST:PORT or turn:HOST:PORT?transport=udp; username and credential are keys"
BROKER = "has no host, or a port that is none: mqtt://user:password@host:1883"
A_NAME = "a name has letters, digits, . _ and -, at most 64, and begins with a letter or digit"
PROGRAM = "begins with the program, which no event may choose"
PLACES = "which no event has; there are: {type} {stream} {zone} {kind} {state} {time}"
WEBHOOK = "not an address such as https://host/path, in plain ASCII"
SCHEMES = "rtsp:// rtsps:// http:// https:// rtmp:// srt:// udp://"
BAD = [
    ("server", "listen", "", f"server.listen: {ADDRESS}"),
    ("server", "listen", ":8080", f"server.listen: :8080: {ADDRESS}"),
    ("server", "listen", "localhost", f"server.listen: localhost: {ADDRESS}"),
    ("server", "listen", "127.0.0.1:", f"server.listen: 127.0.0.1:: {ADDRESS}"),
    ("server", "listen", "127.0.0.1:http", f"server.listen: 127.0.0.1:http: {ADDRESS}"),
    ("server", "listen", "127.0.0.1:65536", f"server.listen: 127.0.0.1:65536: {ADDRESS}"),
    ("server", "listen", 8080, "server.listen: 8080: should be text in quotes"),
    ("server", "listen", "0.0.0.0:8080", f"server.listen: 0.0.0.0:8080: {OPEN}"),
    ("server", "listen", "[::]:8080", f"server.listen: [::]:8080: {OPEN}"),
    ("server", "listen", "192.168.1.5:80", f"server.listen: 192.168.1.5:80: {OPEN}"),
    ("server", "listen", "box.lan:80", f"server.listen: box.lan:80: {OPEN}"),
    ("server", "allow_anonymous", "maybe", "server.allow_anonymous: maybe: should be true or false"),
    ("server", "keep_changes", "maybe", "server.keep_changes: maybe: should be true or false"),
    ("server", "view_tokens", ["hunter2"], f"server.view_tokens: {EASY}"),
    ("server", "view_tokens", ["sha256:ABC"], f"server.view_tokens: {DIGEST}"),
    ("server", "control_tokens", ["hunter2"], f"server.control_tokens: {EASY}"),
    (
        "server",
        "media_directories",
        ["clips"],
        "server.media_directories: ['clips']: has a path that does not begin with /",
    ),
    ("server", "tls_certificate", 5, "server.tls_certificate: 5: should be a path in quotes"),
    ("server", "tls_key", "key.pem", "server: tls_certificate and tls_key go together"),
    ("server", "max_connections", 15, "server.max_connections: 15: should be greater than or equal to 16"),
    ("rtsp", "listen", "8554", f"rtsp.listen: 8554: {ADDRESS}"),
    ("webrtc", "udp_ports", "all", f"webrtc.udp_ports: all: {PORTS}"),
    ("webrtc", "udp_ports", "10-", f"webrtc.udp_ports: 10-: {PORTS}"),
    ("webrtc", "udp_ports", "50-40", "webrtc.udp_ports: 50-40: ports go from 1 to 65535, the smaller first"),
    ("webrtc", "udp_ports", "65536", "webrtc.udp_ports: 65536: ports go from 1 to 65535, the smaller first"),
    ("webrtc", "advertise", "192.0.2.1", "webrtc.advertise: 192.0.2.1: should be a list"),
    ("webrtc", "interfaces", "eth0", "webrtc.interfaces: eth0: should be a list"),
    (
        "webrtc",
        "ice_servers",
        ["turn:user:pw@h:3478"],
        f"webrtc.ice_servers.0.urls: ['turn:***@h:3478']: {ICE}",
    ),
    ("webrtc", "ice_servers", ["http://h"], f"webrtc.ice_servers.0.urls: ['http://h']: {ICE}"),
    ("webrtc", "playout_delay_max_ms", 15, "webrtc.playout_delay_max_ms: 15: should be a multiple of 10"),
    ("webrtc", "max_viewers", 0, "webrtc.max_viewers: 0: should be greater than or equal to 1"),
    ("webrtc", "max_viewers", 1001, "webrtc.max_viewers: 1001: should be less than or equal to 1000"),
    ("webrtc", "max_viewers", "many", f"webrtc.max_viewers: many: {NUMBERS}"),
    (
        "model",
        "name",
        "midas",
        f"model.name: midas: {NETWORKS}",
    ),
    (
        "model",
        "fallback",
        "no",
        f"model.fallback: no: {BUILT_IN}, or should be ''",
    ),
    ("model", "download", "perhaps", "model.download: perhaps: should be true or false"),
    ("model", "weights", 3, "model.weights: 3: should be a path in quotes"),
    ("model", "runtime", "cuda", f"model.runtime: cuda: {RUNTIMES}"),
    ("model", "precision", "fp16", "model.precision: fp16: should be 'auto', 'fp32', 'bf16' or 'int8'"),
    ("model", "threads", 0, "model.threads: 0: should be 'auto', or should be greater than or equal to 1"),
    ("model", "threads", 300, "model.threads: 300: should be 'auto', or should be less than or equal to 256"),
    ("model", "threads", "two", f"model.threads: two: should be 'auto', or {NUMBERS}"),
    ("model", "threads", 1.5, f"model.threads: 1.5: should be 'auto', or {NUMBERS}"),
    ("model", "input_size", 32, "model.input_size: 32: should be 'auto', or should be greater than or equal to 64"),
    ("model", "input_size", 1056, "model.input_size: 1056: should be 'auto', or should be less than or equal to 1024"),
    ("model", "min_fps", -1, "model.min_fps: -1: should be greater than or equal to 0"),
    ("model", "min_fps", 61, "model.min_fps: 61: should be less than or equal to 60"),
    ("model", "min_fps", float("inf"), "model.min_fps: inf: should be a finite number"),
    ("model", "min_fps", "fast", "model.min_fps: fast: should be a number"),
    ("model", "timeout_s", 0, "model.timeout_s: 0: should be greater than 0"),
    ("model", "timeout_s", 61, "model.timeout_s: 61: should be less than or equal to 60"),
    ("model", "timeout_s", float("nan"), "model.timeout_s: nan: should be a finite number"),
    ("model", "timeout_s", "fast", "model.timeout_s: fast: should be a number"),
    ("model", "runtime", "remote", 'model: runtime = "remote" needs model.endpoints: ["grpc://host:8001"]'),
    ("model", "endpoints", ["grpc://h:1", "GRPC://h:1/"], "model.endpoints: names a server twice"),
    (
        "model",
        "endpoints",
        ["https://user:hunter2@host/"],
        "model.endpoints: has one with a login: what lets streamd in belongs into model.endpoint_token",
    ),
    ("model", "endpoints", [f"http://h:{port}" for port in range(1, 18)], "model.endpoints: has too many items"),
    ("model", "endpoint_ca", 3, "model.endpoint_ca: 3: should be a path in quotes"),
    ("model", "endpoint_token", "x" * 4097, "model.endpoint_token: is too long"),
    ("model", "endpoint_token", ["hunter2"], "model.endpoint_token: should be text in quotes"),
    ("model", "memory_limit_mb", 10, "model.memory_limit_mb: 10: should be greater than or equal to 128"),
    ("recording", "directory", 5, "recording.directory: 5: should be a path in quotes"),
    ("recording", "segment_seconds", 0.5, "recording.segment_seconds: 0.5: should be greater than or equal to 1"),
    (
        "recording",
        "segment_seconds",
        9e9,
        "recording.segment_seconds: 9000000000.0: should be less than or equal to 86400",
    ),
    ("recording", "max_age_hours", 0, "recording.max_age_hours: 0: should be greater than 0"),
    ("recording", "max_gb", -1, "recording.max_gb: -1: should be greater than 0"),
    ("recording", "min_free_gb", -1, "recording.min_free_gb: -1: should be greater than or equal to 0"),
    ("mqtt", "url", "http://u:hunter2@h", "mqtt.url: not mqtt://HOST:PORT or mqtts://HOST:PORT"),
    ("mqtt", "url", "mqtt:/u:hunter2@h", "mqtt.url: not mqtt://HOST:PORT or mqtts://HOST:PORT"),
    ("mqtt", "url", "mqtt://u:hunter2@h:99999", f"mqtt.url: {BROKER}"),
    ("mqtt", "name", "a/b", f"mqtt.name: a/b: {A_NAME}"),
    ("mqtt", "discovery", "maybe", "mqtt.discovery: maybe: should be true or false"),
    ("mqtt", "prefix", "home/#", f"mqtt.prefix: home/#: {A_NAME}"),
    ("mqtt", "commands", "maybe", "mqtt.commands: maybe: should be true or false"),
    ("hooks", "command", "notify", "hooks.command: should be a list"),
    ("hooks", "command", ["{stream}"], f"hooks.command: {PROGRAM}"),
    ("hooks", "command", ["n", "Bearer hunter2", "{user}"], f"hooks.command: has {{user}}, {PLACES}"),
    ("hooks", "webhook", "ftp://u:hunter2@h/", f"hooks.webhook: {WEBHOOK}"),
    ("hooks", "webhook", "https://h:99999/", f"hooks.webhook: {WEBHOOK}"),
    ("hooks", "webhook_secret", "hunter2", "hooks.webhook_secret: is too easy to guess: 16 characters at least"),
    ("ros2", "enabled", "maybe", "ros2.enabled: maybe: should be true or false"),
    ("ros2", "domain", 233, "ros2.domain: 233: should be less than or equal to 232"),
    ("ros2", "namespace", "a//b", f"ros2.namespace: a//b: {A_NAME}"),
    ("ros2", "max_fps", 0, "ros2.max_fps: 0: should be greater than 0"),
    ("foxglove", "listen", "8765", f"foxglove.listen: 8765: {ADDRESS}"),
    ("foxglove", "mcap", 5, "foxglove.mcap: 5: should be a path in quotes"),
    ("foxglove", "mcap_minutes", 0, "foxglove.mcap_minutes: 0: should be greater than or equal to 0.1"),
    ("foxglove", "mcap_max_gb", 0, "foxglove.mcap_max_gb: 0: should be greater than 0"),
    ("foxglove", "max_fps", 241, "foxglove.max_fps: 241: should be less than or equal to 240"),
]
BAD_STREAM = [
    ("source", "", "must not be empty"),
    ("source", 5, "5: should be text in quotes"),
    ("source", "rtsp://u:hunter2@h:99999/", "rtsp://***@h:99999/: has no port from 1 to 65535 after its host"),
    ("source", "gopher://h/", f"gopher://h/: gopher:// is no kind of source; there are: {SCHEMES}, or a file"),
    ("push", "rtsp://h/cam", "should be a list"),
    ("push", ["rtmp://u:hunter2@h/cam"], "has one that is not rtsp://, rtsps://, whip:// or whips://"),
    ("transport", "sctp", "sctp: should be 'tcp', 'udp' or 'auto'"),
    ("read_timeout_s", 0, "0: should be greater than 0"),
    ("read_timeout_s", 601, "601: should be less than or equal to 60"),
    ("loop", "x", "x: should be true or false"),
    ("realtime", 3, "3: should be true or false"),
    ("max_fps", 0, "0: should be greater than 0"),
    ("max_fps", 241, "241: should be less than or equal to 240"),
    ("height", 62, "62: should be greater than or equal to 64"),
    ("height", 101, "101: should be a multiple of 2"),
    ("height", 4322, "4322: should be less than or equal to 4320"),
    ("bitrate_kbps", 10, "10: should be greater than or equal to 50"),
    ("bitrate_kbps", 100_001, "100001: should be less than or equal to 100000"),
    ("record", "depth", "depth: should be a list"),
    ("inference", "some", "some: should be 'changes' or 'every'"),
    ("refresh_s", 0, "0: should be greater than or equal to 0.1"),
    ("refresh_s", 4000, "4000: should be less than or equal to 3600"),
    ("smoothing", -0.1, "-0.1: should be greater than or equal to 0"),
    ("smoothing", 1, "1: should be less than or equal to 0.95"),
    ("range", "auto", "auto: should be 'smooth' or 'frame', or should be a list"),
    ("range", [1, 1], "[1, 1]: near and far must differ"),
    ("range", [1, 2, 3], "[1, 2, 3]: should be 'smooth' or 'frame', or has too many items"),
    ("compress", "sqrt", "sqrt: should be 'linear' or 'log'"),
    ("edges", "sharp", "sharp: should be 'crisp' or 'plain'"),
    ("overlay_alpha", 1.5, "1.5: should be less than or equal to 1"),
    ("overlay_alpha", -0.1, "-0.1: should be greater than or equal to 0"),
    ("horizontal_fov_degrees", 180, "180: should be less than 175"),
    ("intrinsics", 1, "1: should be a list"),
    ("mode", "sometimes", "sometimes: should be 'always' or 'on_demand'"),
    ("linger_s", -1, "-1: should be greater than or equal to 0"),
    ("hwaccel", "gpu", "gpu: should be 'none', 'cuda', 'qsv', 'drm' or 'amf'"),
    ("masks", [[[0, 0], [1, 0]]], "[[[0, 0], [1, 0]]]: an area needs at least three points"),
    ("zones", "door", "door: should be a list"),
]


@pytest.mark.parametrize(("section", "key", "value", "line"), BAD)
def test_each_bad_value_has_its_line(section: str, key: str, value: object, line: str) -> None:
    assert problems({section: {key: value}}) == [line]


@pytest.mark.parametrize(("key", "value", "line"), BAD_STREAM)
def test_each_bad_value_of_a_stream_has_its_line(key: str, value: object, line: str) -> None:
    assert problems({"streams": {"cam": {"source": "demo:", key: value}}}) == [f"streams.cam.{key}: {line}"]


def test_every_key_with_a_limit_is_in_the_tables() -> None:
    tested = {(section, key) for section, key, *_ in BAD} | {("streams", key) for key, *_ in BAD_STREAM}
    sections: dict[str, Any] = {name: getattr(Config(), name) for name in Config.model_fields if name != "streams"}
    wanted = {(name, key) for name, section in sections.items() for key in type(section).model_fields}
    assert tested == wanted | {("streams", key) for key in StreamConfig.model_fields}


@pytest.mark.parametrize(
    ("data", "line"),
    [
        ({"stream": {}}, "stream: unknown key; `streamd schema` lists those that exist"),
        ({"model": {"nmae": 1}}, "model.nmae: unknown key; `streamd schema` lists those that exist"),
        ({"streams": {"cam": {}}}, "streams.cam.source: is required"),
        ({"streams": [1]}, "streams: [1]: should be a table"),
        ({"streams": {"cam": 5}}, "streams.cam: should be a table"),
        ({"model": 3}, "model: should be a table"),
        ({"mqtt": "mqtt://u:hunter2@h"}, "mqtt: should be a table"),
        (
            {"streams": {"a b": {"source": "demo:"}}},
            "streams.a b: a b: a name has letters, digits, . _ and -, at most 64, and begins with a letter or digit",
        ),
        (
            {"streams": {"cam": {"source": "demo:", "record": ["colour"]}}},
            "streams.cam.record.0: colour: should be 'depth', 'overlay', 'side-by-side', 'source', 'gray', 'rgbd' or "
            "'depth16'",
        ),
    ],
)
def test_each_bad_shape_has_its_line(data: dict[str, Any], line: str) -> None:
    assert problems(data) == [line]


@pytest.mark.parametrize("name", ["", "..", "-x", "a/b", "a" * 65, "é"])
def test_stream_names_are_safe_in_paths_and_addresses(name: str) -> None:
    assert len(problems({"streams": {name: {"source": "demo:"}}})) == 1


@pytest.mark.parametrize("listen", ["127.0.0.1:0", "127.8.8.8:80", "[::1]:8080", "localhost:8080"])
def test_loopback_needs_no_permission(listen: str) -> None:
    assert ServerConfig(listen=listen).loopback


def test_strangers_are_let_in_on_request() -> None:
    server = ServerConfig(listen="0.0.0.0:80", allow_anonymous=True)
    assert (server.loopback, server.address) == (False, ("0.0.0.0", 80))


def test_a_value_never_changes_after_loading() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Config().model.name = "embedded"


def test_the_networks_are_those_that_exist() -> None:
    assert set(get_args(ModelName)) == set(MODELS)
    assert get_args(View) == VIEWS
    fallback = ModelConfig().fallback
    assert MODELS[fallback].embedded_weights, "the stand-in needs no download"


def test_the_example_is_generated_and_holds_the_defaults() -> None:
    file = CONFIGS / "example.toml"
    assert file.read_text().rstrip("\n") == schema.example().rstrip("\n"), "make it again: see schema.example"
    config = load(file, environment={})
    assert config == Config(streams={"demo": StreamConfig(source="demo:")})


@pytest.mark.parametrize("file", sorted(CONFIGS.glob("*.toml")), ids=lambda file: file.name)
def test_the_shipped_files_are_good(file: Path) -> None:
    assert load(file, environment={}).streams


def test_ports_and_ice_servers_in_all_their_forms() -> None:
    webrtc = parse({"webrtc": {"udp_ports": "50000-50003", "ice_servers": ["stun:192.0.2.1:3478"]}}).webrtc
    assert webrtc.ports == range(50000, 50004)
    assert webrtc.ice_servers[0].urls == ("stun:192.0.2.1:3478",)
    assert (parse({}).webrtc.ports, parse({"webrtc": {"udp_ports": "8189"}}).webrtc.ports) == (None, range(8189, 8190))


def test_with_a_token_others_may_reach_it() -> None:
    assert not parse({"server": {"listen": "0.0.0.0:80", "view_tokens": ["env:STREAMD_VIEW"]}}).server.loopback


KNOWN_BY_DIGEST = f"sha256:{'a' * 64}"


@pytest.mark.parametrize(
    ("server", "listen", "line"),
    [
        ({}, "127.0.0.1:8554", None),
        ({}, "0.0.0.0:8554", f"rtsp: listen {OPEN}"),
        ({"allow_anonymous": True}, "0.0.0.0:8554", None),
        ({"view_tokens": ["look-at-it"]}, "0.0.0.0:8554", None),
        ({"control_tokens": ["env:STREAMD_CONTROL"]}, "[::]:8554", None),
        ({"view_tokens": [KNOWN_BY_DIGEST]}, "127.0.0.1:8554", None),
        ({"view_tokens": [KNOWN_BY_DIGEST, "look-at-it"]}, "0.0.0.0:8554", None),
        (
            {"view_tokens": [KNOWN_BY_DIGEST], "allow_anonymous": True},
            "0.0.0.0:8554",
            "rtsp: listen: nobody could log in from other machines: RTSP takes tokens that are no sha256:",
        ),
    ],
)
def test_rtsp_is_no_more_open_than_http(server: dict[str, Any], listen: str, line: str | None) -> None:
    data = {"server": server, "rtsp": {"listen": listen}}
    if line is None:
        assert parse(data).rtsp.address == split_address(listen)
    else:
        assert problems(data) == [line]
