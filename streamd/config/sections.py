"""The configuration: every key with its default, limits and meaning; `streamd schema` prints it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    BeforeValidator,
    FailFast,
    Field,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)

from streamd.config.address import SourceAddress, is_odd_path
from streamd.config.endpoints import MAX_ENDPOINTS, EndpointAddress
from streamd.config.listen import MaybeAddress, is_loopback, split_address
from streamd.config.outgoing import HooksConfig, MqttConfig
from streamd.config.push import MAX_TARGETS, PushTarget
from streamd.config.pushed import check_pushed
from streamd.config.robots import FoxgloveConfig, Ros2Config
from streamd.config.section import Section
from streamd.config.zones import MAX_ZONES, Polygon, ZoneConfig

STREAM_NAME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"

ModelName = Literal[
    "midas_small",
    "embedded",
    "zipdepth",
    "dpt_hybrid",
    "dpt_large",
    "dpt_swin2_tiny_256",
    "dpt_levit_224",
    "leres_resnet50",
    "leres_resnext101",
    "depth_anything_v2_small",
]
Runtime = Literal[
    "auto",
    "openvino",
    "onnxruntime",
    "onnxruntime:CPU",
    "onnxruntime:CUDA",
    "onnxruntime:TensorRT",
    "onnxruntime:CoreML",
    "onnxruntime:OpenVINO",
    "torch",
    "remote",
]
MANIFEST = ".toml"
"""What the path of a network's manifest ends with."""
Precision = Literal["auto", "fp32", "bf16", "int8"]
View = Literal["depth", "overlay", "side-by-side", "source", "gray", "rgbd"]
VIEWS: tuple[View, ...] = get_args(View)
RecordedView = Literal[View, "depth16"]
RECORDED_VIEWS: tuple[RecordedView, ...] = get_args(RecordedView)
NOT_SHOWN = "depth16 is recorded or converted, not shown"
PictureFormat = Literal["jpg", "png", "png16", "npz", "ply"]
FORMATS: tuple[PictureFormat, ...] = get_args(PictureFormat)
Edges = Literal["crisp", "plain"]
Range = Literal["smooth", "frame"] | tuple[float, float]
_Positive = Annotated[float, Field(gt=0)]
Intrinsics = tuple[_Positive, _Positive, _Positive, _Positive]
"""fx, fy, cx, cy of a pinhole camera."""
OPEN_TO_STRANGERS = (
    "can be reached from other machines and nobody has to log in: "
    "listen on 127.0.0.1, set server.view_tokens or server.control_tokens, or server.allow_anonymous = true"
)
MIN_TOKEN = 8
MAX_SOURCE = 4096
"""Characters."""
PushAddress = Annotated[str, Field(max_length=MAX_SOURCE)]
SECRET_KEYS = {"view_tokens", "control_tokens", "credential", "url", "webhook", "webhook_secret", "command"}
SECRET_KEYS |= {"endpoints", "endpoint_token", "push"}
"""No problem shows what these have: ``mqtt.url`` has a password, and a command may have one among its arguments."""


def parse_ports(text: str) -> range:
    """ "8189" or "50000-50099". Raises ValueError."""
    first, dash, last = text.partition("-")
    if not (first.isdecimal() and (last.isdecimal() or not dash)):
        raise ValueError('not "auto", a port, or a range such as "50000-50099"')
    ports = range(int(first), int(last or first) + 1)
    if not ports or ports[0] < 1 or ports[-1] > 65535:
        raise ValueError("ports go from 1 to 65535, the smaller first")
    return ports


def is_manifest(name: str) -> bool:
    """Whether a network is named by the path of its manifest."""
    return name.endswith(MANIFEST)


def _names_manifest(value: Any) -> str:
    if not isinstance(value, str) or not is_manifest(value):
        raise ValueError("the path of a manifest (.toml)")
    return value


ManifestPath = Annotated[str, Field(max_length=MAX_SOURCE), BeforeValidator(_names_manifest)]


class ServerConfig(Section):
    """The HTTP server: page, API, metrics, WHEP."""

    allow_anonymous: bool = False
    """Without view_tokens, everybody who reaches `listen` may view. Changes still need a control token."""
    view_tokens: tuple[str, ...] = ()
    """Each of these gives the right to view: tokens, or env:NAME, file:PATH, sha256:HEX of one. Empty: on a
    loopback address everybody on this machine may view, and with allow_anonymous everybody."""
    control_tokens: tuple[str, ...] = ()
    """Each of these gives the right to view and to change things. Empty: nobody may change anything, except on this
    machine when `listen` is a loopback address, there are no view_tokens, and allow_anonymous is not set."""
    listen: str = "127.0.0.1:8080"
    """HOST:PORT to listen on; port 0 takes a free one."""
    keep_changes: bool = True
    """Keep the streams that the API adds over restarts, in streams.json beside the models."""

    media_directories: tuple[Path, ...] = ()
    """Directories of files that streams added by the API may play; empty: none. The file's streams may play any."""
    tls_certificate: Path | None = None
    """PEM file with the certificate and its chain: answer by HTTPS. Read again on SIGHUP."""
    tls_key: Path | None = None
    """PEM file with the key of tls_certificate."""
    max_connections: int = Field(default=512, ge=16, le=16384)
    """Connections at once, over all clients; more are refused. One address may have half of them, this machine all."""

    @field_validator("view_tokens", "control_tokens")
    @classmethod
    def _are_hard_to_guess(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for token in value:
            if token.startswith("sha256:") and not re.fullmatch("sha256:[0-9a-f]{64}", token):
                raise ValueError("sha256: takes the 64 lower-case digits that `printf %s TOKEN | sha256sum` prints")
            if not token.startswith(("env:", "file:")) and len(token) < MIN_TOKEN:
                raise ValueError(f"has a token that is too easy to guess: {MIN_TOKEN} characters at least")
        return value

    @field_validator("media_directories")
    @classmethod
    def _are_absolute(cls, value: tuple[Path, ...]) -> tuple[Path, ...]:
        if not all(path.is_absolute() for path in value):
            raise ValueError("has a path that does not begin with /")
        return value

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.tls_certificate is None) != (self.tls_key is None):
            raise ValueError("tls_certificate and tls_key go together")
        return self

    @field_validator("listen")
    @classmethod
    def _not_open_to_strangers(cls, value: str, info: ValidationInfo) -> str:
        decided = any(info.data.get(key) for key in ("allow_anonymous", "view_tokens", "control_tokens"))
        if not is_loopback(split_address(value)[0]) and not decided:
            raise ValueError(OPEN_TO_STRANGERS)
        return value

    @property
    def address(self) -> tuple[str, int]:
        return split_address(self.listen)

    @property
    def loopback(self) -> bool:
        return is_loopback(self.address[0])


class IceServer(Section):
    """A STUN or TURN server, for streamd and for its viewers."""

    urls: tuple[str, ...]
    """stun:HOST:PORT or turn:HOST:PORT?transport=udp."""
    username: str = ""
    """For TURN."""
    credential: str = ""
    """For TURN: itself, env:NAME or file:PATH."""

    @model_validator(mode="before")
    @classmethod
    def _an_address_is_one(cls, value: Any) -> Any:
        return {"urls": [value]} if isinstance(value, str) else value

    @field_validator("urls")
    @classmethod
    def _are_urls(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for url in value:
            if not re.fullmatch(r"(stuns?|turns?):[^\s?@/]+(\?transport=(udp|tcp))?", url):
                raise ValueError("not stun:HOST:PORT or turn:HOST:PORT?transport=udp; username and credential are keys")
        return value


class WebRtcConfig(Section):
    """Viewers in browsers, and how they reach this box."""

    udp_ports: str = "auto"
    """Where media leaves and arrives: auto takes free ports; "8189" is one for all; "50000-50099" one each of these."""
    advertise: tuple[str, ...] = ()
    """More addresses under which viewers reach this box, such as the router's or the host's of a container."""
    interfaces: tuple[str, ...] = ()
    """Offer the addresses of these interfaces only, by name (eth0) or network (192.168.1.0/24); empty: of all."""
    ice_servers: tuple[IceServer, ...] = ()
    """STUN and TURN servers: "stun:HOST:PORT", or { urls = [...], username = "...", credential = "..." }."""
    playout_delay_max_ms: int = Field(default=0, ge=0, le=2000, multiple_of=10)
    """What a viewer may wait to smooth an uneven network; 0 shows each picture as it comes."""
    max_viewers: int = Field(default=64, ge=1, le=1000)
    """Viewers at once, over all streams."""

    @field_validator("udp_ports")
    @classmethod
    def _are_ports(cls, value: str) -> str:
        if value != "auto":
            parse_ports(value)
        return value

    @property
    def ports(self) -> range | None:
        """None: any free one."""
        return None if self.udp_ports == "auto" else parse_ports(self.udp_ports)


class RtspConfig(Section):
    """Viewers that speak RTSP, such as recorders and players: rtsp://HOST:PORT/NAME/VIEW, and /NAME for depth."""

    listen: MaybeAddress = ""
    """HOST:PORT to listen on, such as 127.0.0.1:8554; empty: off. Where viewing takes a token, it is the password of
    any user name. Up to webrtc.max_viewers in all may watch, in whatever way."""

    @property
    def address(self) -> tuple[str, int] | None:
        """None: off."""
        return split_address(self.listen) if self.listen else None

    @property
    def loopback(self) -> bool:
        return not self.listen or is_loopback(split_address(self.listen)[0])


class ModelConfig(Section):
    """The network and how it runs."""

    name: ModelName | ManifestPath = "midas_small"
    """The network: `streamd models list` shows them; or the path of a manifest (.toml) of an ONNX or OpenVINO file."""
    fallback: ModelName | Literal[""] = "embedded"
    """What runs while the weights of `name` are not on this machine; empty for none."""
    download: bool = True
    """Fetch the weights of `name` in the background when they are missing."""
    weights: Path | None = None
    """A checkpoint to use for `name` instead of the fetched one."""
    runtime: Runtime = "auto"
    """What runs the network; auto takes the fastest of openvino and, where it is installed, onnxruntime (on the CPU, if
    no other provider is named). remote: the servers of `endpoints`, and openvino while none of them serves."""
    endpoints: tuple[str, ...] = Field(default=(), max_length=MAX_ENDPOINTS)
    """remote: servers that run what `streamd models export NAME --format triton` writes (Open Inference Protocol v2):
    grpc://HOST:8001, which needs streamd[remote], http://HOST:8000, and by TLS grpcs:// and https://. One serves as
    long as it agrees with the network here."""
    endpoint_token: str = Field(default="", max_length=4096)
    """Sent to all endpoints (Authorization: Bearer): itself, env:NAME or file:PATH. Without TLS whoever listens
    has it."""
    endpoint_ca: Path | None = None
    """PEM file of the authority that has signed the endpoints' certificates; empty: those that this machine trusts."""
    precision: Precision = "auto"
    """auto takes the fastest of fp32 and bf16 that agrees with fp32 on calibration frames on this machine. int8 is made
    of pictures of this machine's own, and runs only if it is as good on other scenes; bf16 runs until then."""
    threads: Literal["auto"] | Annotated[int, Field(ge=1, le=256)] = "auto"
    """Inference threads; auto takes one per core."""
    input_size: Literal["auto"] | Annotated[int, Field(ge=64, le=1024)] = "auto"
    """Size of the picture that `name` sees, px; auto takes its own: 256 for midas_small, whose longest side it is."""
    min_fps: float = Field(default=0.0, ge=0, le=60)
    """Where a watched stream falls below this for the network is too slow, it sees smaller pictures; 0: never."""
    timeout_s: float = Field(default=3.0, gt=0, le=60)
    """An inference that takes longer counts as hung: the worker is replaced. A slow network gets more by itself."""
    memory_limit_mb: int = Field(default=1024, ge=128)
    """The worker is replaced when its resident memory passes this. A large network gets more by itself."""

    @field_validator("endpoints")
    @classmethod
    def _are_addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        addresses = [EndpointAddress.parse(url) for url in value]
        if len(set(addresses)) < len(addresses):
            raise ValueError("names a server twice")
        return value

    @model_validator(mode="after")
    def _has_somewhere_to_ask(self) -> Self:
        if self.runtime == "remote" and not self.endpoints:
            raise ValueError('runtime = "remote" needs model.endpoints: ["grpc://host:8001"]')
        return self


class RecordingConfig(Section):
    """Recorded files: fragmented MP4 (depth16: Matroska), playable up to the last second even after a power cut."""

    directory: Path | None = None
    """Where segments go, in one folder per stream; empty: nothing is recorded."""
    segment_seconds: float = Field(default=60.0, ge=1, le=86400)
    """Length of a segment; it ends at the next keyframe."""
    max_age_hours: float | None = Field(default=None, gt=0)
    """Segments that ended longer ago than this, by the time in their names, are deleted; empty: they stay."""
    max_gb: float | None = Field(default=None, gt=0)
    """The oldest segments are deleted while all together have more than this; empty: they stay."""
    min_free_gb: float = Field(default=1.0, ge=0)
    """Recording pauses, and reports why, while the disk has less free space than this."""


class StreamConfig(Section):
    """One camera or file."""

    source: str = Field(max_length=MAX_SOURCE)
    """rtsp:// rtsps:// http(s):// rtmp:// srt:// udp:// URL, /dev/videoN, v4l2:/dev/v4l/by-id/..., a file, demo:
    or lavfi:GRAPH. A password may be elsewhere: rtsp://user:env:NAME@host/ or rtsp://user:file:/path@host/."""
    transport: Literal["tcp", "udp", "auto"] = "tcp"
    """How RTSP sends its packets; auto takes TCP, and UDP when the camera knows no TCP."""
    read_timeout_s: float = Field(default=10.0, gt=0, le=60)
    """A camera that gives no picture for this long counts as stalled and is opened again."""
    hwaccel: Literal["none", "cuda", "qsv", "drm", "amf"] = "none"
    """Decode on this kind of hardware; without it, or when it cannot, in software."""
    loop: bool = False
    """Files: start again at the end."""
    realtime: bool = True
    """Files: play at their own speed as a camera would; false: every frame, as fast as it goes."""
    mode: Literal["always", "on_demand"] = "always"
    """on_demand: the camera stays closed until someone watches, records or takes a snapshot."""
    linger_s: float = Field(default=10.0, ge=0, le=3600)
    """on_demand: how long it goes on when nobody watches any more."""
    max_fps: float | None = Field(default=None, gt=0, le=240)
    """Frames beyond this rate are skipped before the network."""
    height: int | None = Field(default=720, ge=64, le=4320, multiple_of=2)
    """Largest height of the published picture, px; never enlarged."""
    bitrate_kbps: int | None = Field(default=None, ge=50, le=100_000)
    """At most, of each view at its full size; at half of it 0.7 as much. Unset: by picture size, 1500 for 720p."""
    record: Annotated[tuple[RecordedView, ...], FailFast()] = Field(default=("depth",), max_length=len(RECORDED_VIEWS))
    """Views to record when recording.directory is set; depth16 is relative inverse depth as data, in Matroska."""
    inference: Literal["changes", "every"] = "changes"
    """changes: live frames in which nothing has changed take the last depth; every: the network sees each."""
    refresh_s: float = Field(default=2.0, ge=0.1, le=3600)
    """How long depth may be reused."""
    smoothing: float = Field(default=0.5, ge=0, le=0.95)
    """Share of the last depth in what is shown where the picture stands still: less flicker; 0: none."""
    range: Range = "smooth"
    """smooth: colours that do not flicker; frame: each frame by itself; [near, far]: fixed, in inverse depth."""
    compress: Literal["linear", "log"] = "linear"
    """log gives more colours to what is far."""
    edges: Edges = "crisp"
    """crisp: the depth that is shown has sharper outlines than the network gives it; values are not touched."""
    overlay_alpha: float = Field(default=0.5, ge=0, le=1)
    """Share of depth in the overlay view."""
    horizontal_fov_degrees: float = Field(default=60.0, gt=1, lt=175)
    """What the camera sees from left to right; shapes the point cloud of a snapshot."""
    intrinsics: Intrinsics | None = None
    """[fx, fy, cx, cy] of the camera, in place of horizontal_fov_degrees: shares of width (fx, cx) and height (fy, cy)
    when cx and cy are at most 1, else pixels of the source."""
    masks: Annotated[tuple[Polygon, ...], FailFast()] = Field(default=(), max_length=64)
    """Areas blacked out before anything else gets the picture, each [[x, y], ...]: shares of width and height when all
    are at most 1, else pixels of the source."""
    push: Annotated[tuple[PushAddress, ...], FailFast()] = Field(default=(), max_length=MAX_TARGETS)
    """Servers that get the stream's depth view all the time: rtsp://user:password@host/path (ANNOUNCE, RECORD) and
    whip://token@host/path, or rtsps:// and whips:// by TLS; #view=overlay at the end names another view. The password
    or token may be env:NAME or file:PATH. Not by the API: docs/push.md."""

    zones: Annotated[tuple[ZoneConfig, ...], FailFast()] = Field(default=(), max_length=MAX_ZONES)
    """Areas that fire an event when something in them comes near: { name, polygon = [[x, y], ...], near = 0.7 or
    metres = 1.5, min_area = 0.02, hold_s = 1.0 }."""

    @field_validator("source", mode="wrap")
    @classmethod
    def _names_something(cls, value: Any, check: ValidatorFunctionWrapHandler) -> str:
        if not is_odd_path(value):  # which pydantic takes for no text
            value = check(value)
        check_pushed(SourceAddress.parse(value))
        return str(value)

    @field_validator("masks")
    @classmethod
    def _have_an_inside(cls, value: tuple[Polygon, ...]) -> tuple[Polygon, ...]:
        if any(len(polygon) < 3 for polygon in value):
            raise ValueError("an area needs at least three points")
        return value

    @field_validator("push")
    @classmethod
    def _are_targets(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        targets = [PushTarget.parse(text) for text in value]
        if any(target.view not in VIEWS for target in targets):
            raise ValueError(f"has one with an unknown view; there are: {', '.join(VIEWS)}")
        if len(set(targets)) < len(targets):
            raise ValueError("names a target twice")
        return value

    @field_validator("zones")
    @classmethod
    def _have_names_of_their_own(cls, value: tuple[ZoneConfig, ...]) -> tuple[ZoneConfig, ...]:
        names = [zone.name for zone in value]
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise ValueError(f"there are two zones named {twice!r}: events name the zone")
        return value

    @field_validator("record")
    @classmethod
    def _named_once(cls, value: tuple[RecordedView, ...]) -> tuple[RecordedView, ...]:
        if len(set(value)) < len(value):
            raise ValueError("names a view twice")
        return value

    @field_validator("range")
    @classmethod
    def _near_is_not_far(cls, value: Range) -> Range:
        if isinstance(value, tuple) and value[0] == value[1]:
            raise ValueError("near and far must differ")
        return value


class Config(Section):
    """The whole file."""

    server: ServerConfig = ServerConfig()
    webrtc: WebRtcConfig = WebRtcConfig()
    rtsp: RtspConfig = RtspConfig()
    model: ModelConfig = ModelConfig()
    recording: RecordingConfig = RecordingConfig()
    mqtt: MqttConfig = MqttConfig()
    hooks: HooksConfig = HooksConfig()
    ros2: Ros2Config = Ros2Config()
    foxglove: FoxgloveConfig = FoxgloveConfig()
    streams: dict[Annotated[str, Field(pattern=STREAM_NAME)], StreamConfig] = Field(default={})

    @field_validator("foxglove")
    @classmethod
    def _foxglove_not_open_to_strangers(cls, value: FoxgloveConfig, info: ValidationInfo) -> FoxgloveConfig:
        server = info.data.get("server")
        if server is not None and value.listen and not is_loopback(value.address[0]) and not server.allow_anonymous:
            raise ValueError(
                "listen can be reached from other machines, and Foxglove has no tokens: "
                "listen on 127.0.0.1, or set server.allow_anonymous = true"
            )
        return value

    @field_validator("rtsp")
    @classmethod
    def _rtsp_not_open_to_strangers(cls, value: RtspConfig, info: ValidationInfo) -> RtspConfig:
        server = info.data.get("server")
        if server is None or value.loopback or (server.allow_anonymous and not server.view_tokens):
            return value
        tokens = server.view_tokens + server.control_tokens
        if not tokens:
            raise ValueError(f"listen {OPEN_TO_STRANGERS}")
        if all(token.startswith("sha256:") for token in tokens):
            raise ValueError("listen: nobody could log in from other machines: RTSP takes tokens that are no sha256:")
        return value
