"""Processor, memory, ports and disk."""

from __future__ import annotations

import errno
import http.client
import json
import math
import os
import shutil
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from streamd.config.listen import split_address
from streamd.config.sections import Config
from streamd.doctor.finding import Finding, Status
from streamd.host import cgroup

FLAGS = {
    "AVX2": ("avx2",),
    "AVX-512": ("avx512f",),
    "bf16": ("avx512_bf16", "amx_bf16", "bf16"),
    "AMX": ("amx_tile",),
    "int8 VNNI": ("avx512_vnni", "avx_vnni", "amx_int8", "asimddp", "i8mm"),
    "NEON": ("asimd",),
}
"""What makes networks fast, and the kernel's names for it."""
DAEMON_BYTES = 400e6
"""The daemon beside its worker, roughly."""
_HERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}
"""Where one of this machine finds what listens on all addresses."""


def processor(config: Config) -> Iterator[Finding]:
    from streamd.depth.profile import cpu

    name, text = cpu()
    flags = set(text.split())
    has = [what for what, names in FLAGS.items() if flags.intersection(names)]
    found = f"{name}: {', '.join(has) or 'no vector instructions known'}"
    if "AVX2" in has or "NEON" in has:
        yield Finding("processor", "ok", found, details={"name": name, "has": has})
    else:
        advice = "expect a few frames a second; a lower model.input_size helps"
        yield Finding("processor", "warning", found, advice, {"name": name, "has": has})


def threads(config: Config) -> Iterator[Finding]:
    cores, quota = len(os.sched_getaffinity(0)), cgroup.cpu_limit()
    wanted = cores if config.model.threads == "auto" else config.model.threads
    allowed = min(cores, math.ceil(quota or cores))
    found = f"{cores} of {os.cpu_count()} cores" + (f", time for {quota:g} of them" if quota else "")
    found += f"; the network takes {wanted}"
    details = {"cores": cores, "quota": quota, "threads": wanted}
    if wanted > allowed:
        yield Finding("threads", "warning", found, f"set model.threads = {allowed}: more only wait", details)
    else:
        yield Finding("threads", "ok", found, details=details)


def memory(config: Config) -> Iterator[Finding]:
    from streamd.depth.models import find_model, memory_limit_bytes

    facts = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    total, free = (int(facts[key].split()[0]) * 1024 for key in ("MemTotal", "MemAvailable"))
    limit = cgroup.memory_limit_bytes()
    found = f"{_gb(total)}, {_gb(free)} free" + (f", limited to {_gb(limit)}" if limit else "")
    details = {"total_bytes": total, "free_bytes": free, "limit_bytes": limit}
    worker = memory_limit_bytes(config.model, find_model(config.model.name))
    wanted = worker + DAEMON_BYTES
    if min(total, limit or total) < wanted:
        advice = f"the worker may take {worker / 1e6:.0f} MB: lower model.memory_limit_mb, or give more"
        yield Finding("memory", "warning", found, advice, details)
    elif free < wanted:
        yield Finding(
            "memory", "warning", found, "other programs hold most of it: see what `top -o %MEM` shows", details
        )
    else:
        yield Finding("memory", "ok", found, details=details)


def port(config: Config) -> Iterator[Finding]:
    """Whether we could listen, or already do."""
    host, number = config.server.address
    https = config.server.tls_key is not None
    yield _listening("port", "server.listen", config.server.listen, lambda: answers(host, number, https=https))


def rtsp(config: Config) -> Iterator[Finding]:
    """The same for RTSP, where it is configured."""
    address = config.rtsp.address
    if address is not None:
        yield _listening("rtsp", "rtsp.listen", config.rtsp.listen, lambda: answers_rtsp(*address))


def _listening(check: str, key: str, where: str, is_ours: Callable[[], bool]) -> Finding:
    host, number = split_address(where)
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, number, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            server.bind(address)
            server.listen(1)
    except OSError as error:
        if error.errno == errno.EADDRINUSE and is_ours():
            return Finding(check, "ok", f"{where}: streamd answers there")
        if error.errno == errno.EADDRINUSE:
            advice = f"`ss -ltnp sport = :{number}` shows by which; or choose another {key}"
            return Finding(check, "problem", f"{where} is taken by another program", advice)
        return Finding(check, "problem", f"{where}: {(error.strerror or str(error)).lower()}", f"set {key}")
    return Finding(check, "ok", f"{where} is free")


def answers_rtsp(host: str, number: int) -> bool:
    """Whether it is streamd that listens there."""
    with suppress(OSError), socket.create_connection((_HERE.get(host, host), number), timeout=1) as connection:
        connection.sendall(b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n")
        return b"\nServer: streamd\r" in connection.recv(1000)
    return False


def answers(host: str, number: int, *, https: bool = False) -> bool:
    """Whether it is streamd that listens there."""
    host = _HERE.get(host, host)
    with suppress(OSError, ValueError, http.client.HTTPException):
        connection = http.client.HTTPConnection(host, number, timeout=1)
        if https:  # who it is does not matter here
            connection = http.client.HTTPSConnection(host, number, timeout=1, context=ssl._create_unverified_context())
        try:
            connection.request("GET", "/healthz")
            return bool(json.loads(connection.getresponse().read(1000)) == {"status": "ok"})
        finally:
            connection.close()
    return False


def udp(config: Config) -> Iterator[Finding]:
    """WebRTC's packets."""
    try:
        with socket.socket(type=socket.SOCK_DGRAM) as here, socket.socket(type=socket.SOCK_DGRAM) as there:
            here.bind(("127.0.0.1", 0))
            here.settimeout(1)
            there.sendto(b"?", here.getsockname())
            here.recv(1)
    except OSError as error:
        advice = "viewers need UDP: see the firewall, and RestrictAddressFamilies= of the systemd unit"
        yield Finding("udp", "problem", f"no UDP on this machine: {(error.strerror or str(error)).lower()}", advice)
    else:
        yield Finding("udp", "ok", "UDP sockets open and deliver")


def disk(config: Config) -> Iterator[Finding]:
    from streamd.depth.store import default_directories

    data, cache = default_directories()
    places = {"recordings": config.recording.directory, "models": data, "cache": cache}
    wanted = config.recording.min_free_gb
    for use, directory in places.items():
        if directory is None:
            continue
        there = next(folder for folder in (directory, *directory.absolute().parents) if folder.exists())
        free = shutil.disk_usage(there).free
        found, details = f"{use} in {directory}: {_gb(free)} free", {"use": use, "free_bytes": free}
        if not there.is_dir() or not os.access(there, os.W_OK | os.X_OK):
            yield Finding("disk", "problem", f"{found}, but we may not write", f"give this user {there}", details)
        elif free < wanted * 1e9:
            status: Status = "problem" if use == "recordings" else "warning"
            advice = f"free some: {wanted:g} GB shall stay (recording.min_free_gb)"
            yield Finding("disk", status, found, advice, details)
        else:
            yield Finding("disk", "ok", found, details=details)


def _gb(count: float) -> str:
    return f"{count / 1e9:.1f} GB"
