"""What a frame, an inference, a picture and a viewer cost on this box: the figures that plan.py reckons with.

    python benchmarks/costs.py > costs.json             # both models, 3 minutes on a quiet box

One daemon for each model plays 720p10 H.264 in several set-ups. What daemon and worker used of the CPU in each is a sum
of counts (seconds, frames, inferences, pictures, pictures sent) times what each of them costs: the costs are the
least squares over all set-ups. ``fit`` in the JSON is that sum to what was used, by set-up.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import common
import numpy as np
from common import log
from live import Daemon, Metrics, running
from still_many import clip

sys.path.append(str(common.ROOT))
from tests.support.crowd import Crowd

SETTLE_S = 4.0
COUNTS = ("idle", "frame", "picture", "recorded", "sent")
MODELS = ("midas_small", "embedded")


@dataclass(frozen=True)
class SetUp:
    still: int = 0
    moving: int = 0
    inference: str = "changes"
    viewers: int = 0
    """Of each stream."""
    recorded: bool = False

    def settings(self, clips: dict[str, Path]) -> dict[str, dict[str, Any]]:
        kinds = ["still"] * self.still + ["moving"] * self.moving
        common_ones = {"loop": True, "inference": self.inference, "record": ["depth"] if self.recorded else []}
        return {f"{kind}{n}": {"source": str(clips[kind])} | common_ones for n, kind in enumerate(kinds)}


SET_UPS = (
    SetUp(),
    SetUp(still=3),
    SetUp(still=9),
    SetUp(still=3, inference="every"),
    SetUp(still=3, viewers=1),
    SetUp(moving=2, viewers=1),
    SetUp(moving=2, viewers=8),
    SetUp(moving=2, recorded=True),
)


def main() -> None:
    options = _parser().parse_args()
    with tempfile.TemporaryDirectory(prefix="streamd-bench-") as temporary:
        folder = Path(temporary)
        clips = {kind: clip(options, folder, kind) for kind in ("still", "moving")}
        rows = {model: of_model(model, clips, folder / model, options.seconds) for model in options.models}
    cost, fit = solved(rows)
    some = rows[options.models[0]]
    few, many, watched, kept = some[1], some[2], some[5], some[7]
    stream_mb = (many["daemon_mb"] - few["daemon_mb"]) / (SET_UPS[2].still - SET_UPS[1].still)
    costs = {
        "cpu": common.machine()["cpu"],
        "idle_cores": round(cost["idle"], 4),
        "frame_ms": round(1e3 * cost["frame"], 2),
        "inference_ms": {model: round(1e3 * cost[model], 2) for model in rows},
        "picture_ms": round(1e3 * cost["picture"], 2),
        "recorded_ms": round(1e3 * cost["recorded"], 2),
        "viewer_ms": round(1e3 * cost["sent"], 3),
        "daemon_mb": round(few["daemon_mb"] - SET_UPS[1].still * stream_mb, 1),
        "stream_mb": round(stream_mb, 1),
        "worker_mb": {model: each[2]["worker_mb"] for model, each in rows.items()},
        "picture_kbit": round(watched["sent_kbit"] / watched["counts"]["sent"], 2),
        "recorded_kbit": round(kept["recorded_kbit"] / kept["counts"]["recorded"], 2),
    }
    json.dump({"benchmark": "costs", "box": common.machine(), "costs": costs, "fit": fit}, sys.stdout, indent=1)
    print()


def solved(rows: dict[str, list[dict[str, Any]]]) -> tuple[dict[str, float], dict[str, list[float]]]:
    """The cost of each count, s; and of each set-up, what the costs say of what was used. Only inferences differ by
    model. The few seconds without streams count as much as the others do: errors are relative."""
    names = [*COUNTS, *rows]
    table = [
        [row["counts"].get(name, row["counts"]["inference"] if name == model else 0.0) for name in names]
        for model, some in rows.items()
        for row in some
    ]
    counts, used_s = np.array(table), np.array([row["used_s"] for some in rows.values() for row in some])
    weight = 1 / np.maximum(used_s, 0.2)
    found, *_ = np.linalg.lstsq(counts * weight[:, None], used_s * weight, rcond=None)
    said = (counts @ found / np.maximum(used_s, 1e-9)).round(3).tolist()
    fit = {model: said[at * len(SET_UPS) : (at + 1) * len(SET_UPS)] for at, model in enumerate(rows)}
    return dict(zip(names, (float(each) for each in found), strict=True)), fit


def of_model(model: str, clips: dict[str, Path], folder: Path, seconds: float) -> list[dict[str, Any]]:
    """A row for each set-up."""
    folder.mkdir()
    weights = common.weights_for(model, folder / "home")
    lines = ["[server]\nlisten = '127.0.0.1:0'\nkeep_changes = false"]
    lines += [f"media_directories = ['{clips['still'].parent}']"]
    lines += [f"[model]\nname = '{model}'\nfallback = ''\ndownload = false"]
    lines += [f"[recording]\ndirectory = '{folder / 'recordings'}'"]
    with running(folder / "streamd.toml", lines, weights.environment) as streamd:
        streamd.wait_ready()
        rows = []
        for set_up in SET_UPS:
            rows.append(measured(streamd, set_up, clips, seconds))
            log(f"{model}: {set_up}: {rows[-1]['used_s']:.2f} s of CPU for {rows[-1]['counts']}")
        return rows


def measured(streamd: Daemon, set_up: SetUp, clips: dict[str, Path], seconds: float) -> dict[str, Any]:
    settings = set_up.settings(clips)
    for name, each in settings.items():
        streamd.ask("PUT", name, each)
    with ExitStack() as stack:
        crowds = []
        for name in settings if set_up.viewers else ():
            crowd = stack.enter_context(Crowd(f"{streamd.url}/whep/{name}", raw=True))
            crowd.join(set_up.viewers)
            crowds.append(crowd)
        before, used_s, after = _steadily(streamd, crowds, seconds)
        seen = [viewer for crowd in crowds for viewer in crowd.counts()]
    for name in settings:
        streamd.ask("DELETE", name)

    def gained(metric: str, **labels: str) -> float:
        return sum(
            after.value(metric, stream=name, **labels) - before.value(metric, stream=name, **labels)
            for name in settings
        )

    pictures = gained("streamd_frames_published_total", view="depth")
    counts = {
        "idle": after.at - before.at,
        "frame": gained("streamd_frames_captured_total"),
        "inference": gained("streamd_inferences_total"),
        "picture": 0.0 if set_up.recorded else pictures,
        "recorded": pictures if set_up.recorded else 0.0,
        "sent": sum(viewer["pictures"] for viewer in seen),
    }
    return {
        "counts": counts,
        "daemon_mb": after.value("process_resident_memory_bytes") / 1e6,
        "worker_mb": round(after.value("streamd_worker_resident_memory_bytes") / 1e6, 1),
        "used_s": used_s,
        "sent_kbit": sum(viewer["bytes"] for viewer in seen) * 8 / 1000,
        "recorded_kbit": gained("streamd_recorded_bytes_total") * 8 / 1000,
    }


def _steadily(streamd: Daemon, crowds: Sequence[Crowd], seconds: float) -> tuple[Metrics, float, Metrics]:
    """Metrics before and after, and the CPU used between: of a while in which the worker was not replaced, as it is
    soon after the number of streams has changed."""
    while True:
        time.sleep(SETTLE_S)
        pids = [pid for pid in (streamd.pid, streamd.worker_pid) if pid]
        for crowd in crowds:
            crowd.counts()
        before, used_s = streamd.metrics(), sum(common.cpu_s(pid) for pid in pids)
        time.sleep(seconds)
        if [pid for pid in (streamd.pid, streamd.worker_pid) if pid] == pids:
            return before, sum(common.cpu_s(pid) for pid in pids) - used_s, streamd.metrics()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--seconds", type=float, default=8, help="of each set-up (8)")
    parser.add_argument("--clip-seconds", type=float, default=30, help="length of the clips, which loop (30)")
    parser.add_argument("--clips", type=Path, help="a folder in which the clips are kept, or found")
    return parser


if __name__ == "__main__":
    main()
