"""What the benchmarks share: test material, a place with a model, helper processes, and what the box was doing."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
from av.video.stream import VideoStream

from streamd.depth.profile import core_count, cpu
from streamd.depth.store import ModelStore, default_directories
from streamd.jobs.stages import cpu_s

ROOT = Path(__file__).resolve().parent.parent
DEMO = ROOT / "streamd" / "assets" / "demo.mp4"
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def log(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


# -- material ---------------------------------------------------------------------------------


def make_clip(path: Path, *, fps: int, seconds: float) -> Path:
    """The demo clip over and over as 1280x720 H.264 at ``fps``, as a camera might send it."""
    log(f"making {seconds:g} s of 1280x720 at {fps} fps")
    with av.open(str(path), "w") as output:
        video = output.add_stream("libx264", rate=fps, options={"preset": "veryfast", "crf": "20"})
        video.width, video.height, video.pix_fmt = 1280, 720, "yuv420p"
        for number, picture in zip(range(round(fps * seconds)), _demo(), strict=False):
            picture.pts, picture.time_base, picture.pict_type = number, Fraction(1, fps), 0
            output.mux(video.encode(picture))
        output.mux(video.encode(None))
    return path


def _demo() -> Iterator[av.VideoFrame]:
    while True:
        with av.open(str(DEMO)) as clip:
            yield from clip.decode(video=0)


def describe_clip(clip: Path) -> dict[str, Any]:
    with av.open(str(clip)) as container:
        video: VideoStream = container.streams.video[0]
        return {
            "size": f"{video.width}x{video.height}",
            "fps": float(video.average_rate or 0),
            "frames": video.frames,
            "codec": video.codec_context.name,
            "profile": video.codec_context.profile,
            "kbps": round((container.bit_rate or 0) / 1000),
        }


# -- the model --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Weights:
    """Where a model's weights are for the processes started with ``environment``."""

    environment: dict[str, str]
    kind: str
    file: Path


def weights_for(model: str, home: Path) -> Weights:
    """The installed weights, else random ones of the official layout, imported below ``home``."""
    user = _status(model, *default_directories())
    if user is not None:
        return Weights(dict(os.environ), "installed", user)
    environment = {**os.environ, "STREAMD_HOME": str(home)}
    found = _status(model, *default_directories(environment))
    if found is None:
        log(f"{model} is not installed: making random weights of its official layout")
        file = home / "random.pt"
        home.mkdir(parents=True, exist_ok=True)
        # In a process of its own: this one shall not hold torch.
        write = f"import pathlib, tests.support.checkpoints as c; c.write_{model}(pathlib.Path({str(file)!r}))"
        subprocess.run([sys.executable, "-c", write], cwd=ROOT, check=True, stdout=sys.stderr)
        subprocess.run(
            [sys.executable, "-m", "streamd", "models", "import", model, str(file)],
            env=environment,
            check=True,
            stdout=sys.stderr,
        )
        file.unlink()
        found = _status(model, *default_directories(environment))
        assert found is not None
    return Weights(environment, "random numbers in the official layout", found)


def _status(model: str, data: Path, cache: Path) -> Path | None:
    """The file with the weights, if they are there."""
    return {status.spec.name: status.path for status in ModelStore(data, cache).status()}[model]


# -- helper processes -------------------------------------------------------------------------


class Helper:
    """This same script as another process in one of its roles: a line of JSON when it is ready, and one per ``ask``."""

    def __init__(self, role: str, *arguments: str, environment: Mapping[str, str] | None = None) -> None:
        self.role = role
        self._process = subprocess.Popen(
            [sys.executable, sys.argv[0], "--role", role, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.facts = self._line()

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write("go\n")
        self._process.stdin.flush()
        return self._line()

    def _line(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"the {self.role} process ended with {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> Helper:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def reply(answer: Mapping[str, Any]) -> None:
    """A helper's answer."""
    print(json.dumps(answer), flush=True)


def requests() -> Iterator[None]:
    """Once per ``ask``, until the parent hangs up."""
    for _ in sys.stdin:
        yield None


# -- the box ----------------------------------------------------------------------------------


def machine() -> dict[str, Any]:
    name, flags = cpu()
    fast = sorted(set(flags.split()) & {"avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8"})
    packages = ("streamd", "openvino", "torch", "timm", "av", "opencv-python", "numpy")
    return {
        "cpu": name,
        "flags": fast,
        "cores": core_count(),
        "system": platform.platform(),
        "load": [round(load, 2) for load in os.getloadavg()],
        "versions": {
            "python": platform.python_version(),
            "ffmpeg": av.ffmpeg_version_info,
            **{package: importlib.metadata.version(package) for package in packages},
        },
    }


def find_child(pid: int, module: str) -> int | None:
    """The child process that runs ``python -m module``."""
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in children.read_text().split():
            if module in command_line(int(child)):
                return int(child)
    return None


def command_line(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    except OSError:
        return []


class Box:
    """How busy the whole machine was since this was made, in cores: with what is measured, and with all the rest."""

    def __init__(self, *pids: int) -> None:
        self._pids = pids
        self._at_s, self._all_s, self._own_s = self._read()

    def _read(self) -> tuple[float, float, float]:
        fields = Path("/proc/stat").read_text().split("\n")[0].split()[1:]
        user, nice, system, _idle, _iowait, irq, softirq, steal = (int(field) for field in fields[:8])
        all_s = (user + nice + system + irq + softirq + steal) * _TICK_S
        return time.monotonic(), all_s, sum(cpu_s(pid) for pid in self._pids)

    def cores(self) -> dict[str, float]:
        at_s, all_s, own_s = self._read()
        elapsed_s = max(at_s - self._at_s, 1e-9)
        own, everything = (own_s - self._own_s) / elapsed_s, (all_s - self._all_s) / elapsed_s
        return {"own_cores": round(own, 2), "other_cores": round(max(everything - own, 0.0), 2)}


# -- numbers ----------------------------------------------------------------------------------


def spread(values_s: Sequence[float]) -> dict[str, float]:
    """Mean, median and 95th percentile in milliseconds."""
    ordered = sorted(values_s)
    return {
        "mean_ms": round(1e3 * statistics.fmean(ordered), 2),
        "p50_ms": round(1e3 * ordered[len(ordered) // 2], 2),
        "p95_ms": round(1e3 * ordered[int(0.95 * (len(ordered) - 1))], 2),
    }


def median(values: Sequence[float], digits: int = 3) -> float:
    return round(statistics.median(values), digits)
