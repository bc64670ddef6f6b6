"""Cameras of this machine, and the sources of the configured streams."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from concurrent.futures import Future, wait
from importlib.util import find_spec
from typing import TYPE_CHECKING

from streamd.concurrency import threads
from streamd.config.address import SourceAddress, SourceKind
from streamd.config.redact import redact_source
from streamd.config.sections import Config
from streamd.doctor.finding import Finding
from streamd.errors import Problem

if TYPE_CHECKING:
    from streamd.sources.v4l2 import Camera

CONNECT_S = 2.0


def cameras(config: Config) -> Iterator[Finding]:
    from streamd.sources.v4l2 import cameras as all_cameras

    found = all_cameras()
    if not found:
        yield Finding("cameras", "ok", "none on this machine")
    for camera in found:
        name = f"{camera.path} {camera.name}" + (f" (v4l2:{camera.stable_id})" if camera.stable_id else "")
        if camera.problem:
            text, _, advice = camera.problem.partition("; ")
            yield Finding("cameras", "warning", f"{name}: {text}", advice, camera.describe())
        else:
            yield Finding("cameras", "ok", f"{name}: {_formats(camera)}", details=camera.describe())


def _formats(camera: Camera) -> str:
    """Each with its largest size, and which we would take."""
    from streamd.sources.webcam import HEIGHT_PX, RATE_FPS, best_mode

    texts = []
    for pixels in camera.formats:
        largest = max(pixels.sizes, key=lambda size: size.width * size.height, default=None)
        texts.append(pixels.fourcc + (f" up to {largest.width}x{largest.height}" if largest else ""))
    mode = best_mode(camera.formats, HEIGHT_PX, RATE_FPS)
    taken = f"; taken as {mode.width}x{mode.height} {mode.input_format}" if mode else ""
    return (", ".join(texts) or "does not list its formats") + taken


def streams(config: Config) -> Iterator[Finding]:
    """Whether each source is there; those on the network all at once."""
    from streamd.sources.protocols import lacking

    # The resolver's own limit is 10 s and more for each name. It reads this at its first look-up.
    os.environ.setdefault("RES_OPTIONS", "timeout:1 attempts:1")
    asked: dict[str, tuple[str, Future[str]]] = {}
    for name, stream in config.streams.items():
        address = SourceAddress.parse(stream.source)
        if reason := lacking(stream.source):
            found, _, advice = reason.partition(": ")
            yield Finding("streams", "problem", f"{name}: {found}", advice)
        elif address.kind in (SourceKind.RTSP, SourceKind.HTTP, SourceKind.RTMP):
            asked[name] = _start_connecting(name, address)
        elif address.kind is SourceKind.WEBCAM:
            yield _webcam(name, address.path)
        elif address.kind is SourceKind.FILE and not os.path.exists(address.path):
            yield Finding("streams", "problem", f"{name}: {address.path} is not there", "see its source")
    wait([answer for _, answer in asked.values()], timeout=CONNECT_S + 0.5)
    for name, (where, answer) in asked.items():
        yield _reached(name, where, answer)


def unsupported(config: Config) -> Iterator[Problem]:
    """Sources that can never be opened here."""
    from streamd.sources.protocols import lacking

    for name, stream in config.streams.items():
        if reason := lacking(stream.source):
            yield Problem(f"streams.{name}.source", redact_source(stream.source), reason)


def not_installed(config: Config) -> Iterator[Problem]:
    """Packages without which a start with this configuration is refused. Those of ``model``: depth/runtimes."""
    for key, value, package, extra in (
        ("mqtt.url", config.mqtt.url, "paho", "mqtt"),
        ("ros2.enabled", config.ros2.enabled, "cyclonedds", "ros2"),
        ("foxglove.listen", config.foxglove.listen, "foxglove", "foxglove"),
        ("foxglove.mcap", config.foxglove.mcap, "foxglove", "foxglove"),
    ):
        if value and find_spec(package) is None:
            yield Problem(key, "", f'needs a package that is not installed: pip install "streamd[{extra}]"')


def _start_connecting(name: str, address: SourceAddress) -> tuple[str, Future[str]]:
    """Where it is, and what comes of a connection there. Only host and port are used: no secret is touched."""
    answer: Future[str] = Future()
    # Left to itself when a name takes longer to look up than we wait.
    threads.start(f"ask-{name}", lambda: answer.set_result(_connect(address.host, address.port)))
    return address.netloc, answer


def _connect(host: str, port: int) -> str:
    """Empty when somebody listens there, else what is wrong."""
    try:
        socket.create_connection((host, port), CONNECT_S).close()
    except TimeoutError:
        return "no answer"
    except UnicodeError:
        return "its name cannot be looked up"
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return ""


def _reached(name: str, where: str, answer: Future[str]) -> Finding:
    if not answer.done():
        return Finding("streams", "problem", f"{name}: {where}: no answer", "see cable, address and name service")
    if reason := answer.result():
        advice = "is the camera on, and host and port right? From here no connection could be made"
        return Finding("streams", "problem", f"{name}: {where}: {reason}", advice)
    return Finding("streams", "ok", f"{name}: {where} answers")


def _webcam(name: str, device: str) -> Finding:
    from streamd.sources import v4l2

    camera = v4l2.camera(device)
    if camera is None:
        return Finding("streams", "problem", f"{name}: {device}: no camera there", "plug it in, or change its source")
    if camera.problem:
        # One that lists its formats is only in use: by streamd itself, perhaps.
        return Finding("streams", "warning" if camera.formats else "problem", f"{name}: {device} {camera.problem}")
    return Finding("streams", "ok", f"{name}: {device} is there")
