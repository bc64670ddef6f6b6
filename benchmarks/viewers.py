"""What one more viewer costs: of streamd, which encodes once, and of aiortc with MediaRelay, as its examples have it.

1 to 32 viewers watch one 1280x720 view at 30 fps, inference going on. They are in another process, shake hands in
full and send receiver reports, but read no more of a packet than its header. Then, in the same run, a small server
sends the same depth pictures, already coloured, to 1, 2, ... viewers until one gets less than 29 fps.
`--rtsp` measures readers by RTSP instead, over TCP and UDP, against as many WHEP viewers of the same view.
`--cycles N` lets N viewers come and go instead, half of them without closing, and reports what is left of them.
Prints JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from itertools import cycle
from pathlib import Path
from typing import Any

import av
import common
from common import Box, Helper, log, median, reply
from live import STREAM, Daemon, daemon

sys.path.append(str(common.ROOT))
from tests.support.crowd import Crowd
from tests.support.ports import free_port
from tests.support.rtsp_crowd import RtspCrowd

COUNTS = (1, 2, 4, 8, 16, 32)
RTSP_COUNTS = (1, 16)
MAX_RTSP_RATIO = 1.5
STOCK_COUNTS = (1, 2, 3, 4)
STOCK_CODECS = ("H264", "VP8")
STOCK_FRAMES = 60
"""1.4 MB each."""
FPS, KBPS, FULL = 30, 1500, 4320
SETTLE_S, GONE_S = 3.0, 10.0
MIN_RATIO, MIN_FPS, MAX_RSS_SHARE = 20.0, 29.0, 0.03


def main() -> None:
    options = _parser().parse_args()
    if options.role:
        asyncio.run(serve_stock(options.clip, options.role))
        return
    with tempfile.TemporaryDirectory(prefix="streamd-bench-") as temporary:
        folder = Path(temporary)
        clip = options.clip or common.make_clip(folder / "clip.mp4", fps=FPS, seconds=10)
        weights = common.weights_for("embedded", folder / "home")
        rtsp = f"127.0.0.1:{free_port()}"
        with daemon(clip, "embedded", weights.environment | {"STREAMD_RTSP__LISTEN": rtsp}, folder) as running:
            running.wait_ready()
            if options.rtsp:
                result = by_rtsp(options, running, f"rtsp://{rtsp}/{STREAM}/{options.view}")
            else:
                result = cycles(options, running) if options.cycles else {"streamd": table(options, running)}
        if not options.cycles and not options.rtsp:
            depth = folder / "depth.mp4"
            command = [sys.executable, "-m", "streamd", "convert", str(clip), str(depth), "--model", "embedded"]
            subprocess.run(command, env=weights.environment, check=True, stdout=subprocess.DEVNULL)
            result["stock"] = {codec: stock(options, depth, codec) for codec in STOCK_CODECS}
            result |= compare(result)
        name = "rtsp" if options.rtsp else "cycles" if options.cycles else "viewers"
        facts = {"benchmark": name, "clip": common.describe_clip(clip)}
        json.dump(facts | {"box": common.machine()} | result, sys.stdout, indent=1)
    print()


def whep(options: argparse.Namespace, running: Daemon) -> str:
    """In the full size, as all that it is compared with."""
    return f"{running.url}/whep/{STREAM}?view={options.view}&height={FULL}"


# -- the table ----------------------------------------------------------------------------------------


def table(options: argparse.Namespace, running: Daemon) -> dict[str, Any]:
    url = whep(options, running)
    worker = running.worker_pid
    assert worker is not None
    before = running.metrics()
    with Crowd(url, raw=True) as crowd:
        rows = list(_rows(crowd, COUNTS, (running.pid, crowd.pid, worker), options.seconds))
    inferred = running.metrics().value("streamd_stage_seconds_count", stream=STREAM, stage="infer")
    inferred -= before.value("streamd_stage_seconds_count", stream=STREAM, stage="infer")
    return {"rows": rows, "cpu_percent_per_viewer": _slope(rows), "frames_inferred": round(inferred)}


def _rows(crowd: Crowd, counts: Sequence[int], pids: Sequence[int], seconds: float) -> Iterator[dict[str, Any]]:
    """``pids``: of the server first; all of them are no part of what else the box does."""
    present = 0
    for count in counts:
        joins_s = crowd.join(count - present)
        present = count
        time.sleep(SETTLE_S)
        crowd.counts()
        server, everyone = Box(pids[0]), Box(*pids)
        time.sleep(seconds)
        seen = crowd.counts()
        cpu = 100 * server.cores()["own_cores"]
        fps = [viewer["pictures"] / viewer["s"] for viewer in seen]
        row = {
            "viewers": count,
            "cpu_percent": round(cpu, 1),
            "fps_min": round(min(fps), 2),
            "fps_median": median(fps, 2),
            "packets_per_s": round(sum(viewer["packets"] / viewer["s"] for viewer in seen)),
            "kbps_each": round(statistics.median(viewer["bytes"] / viewer["s"] for viewer in seen) * 8 / 1000),
            "lost": round(sum(viewer["lost"] for viewer in seen)),
            "longest_gap_ms": round(1e3 * max(viewer["longest_gap_s"] for viewer in seen)),
            "join_ms": median([1e3 * join for join in joins_s], 1),
            "other_cores": everyone.cores()["other_cores"],
        }
        log(json.dumps(row))
        yield row


def _slope(rows: Sequence[dict[str, Any]]) -> float:
    """Percent of a core per added viewer: the line through all rows with the least squares."""
    line = statistics.linear_regression([row["viewers"] for row in rows], [row["cpu_percent"] for row in rows])
    return round(line.slope, 3)


def compare(result: dict[str, Any]) -> dict[str, Any]:
    ours, rows = result["streamd"]["cpu_percent_per_viewer"], result["streamd"]["rows"]
    ratios = {codec: round(each["cpu_percent_per_viewer"] / ours, 1) for codec, each in result["stock"].items()}
    return {
        "ratio": ratios,
        "targets": {
            "ratio_at_least_20": {codec: ratio >= MIN_RATIO for codec, ratio in ratios.items()},
            "none_below_29_fps": min(row["fps_min"] for row in rows) >= MIN_FPS,
        },
    }


# -- by RTSP ------------------------------------------------------------------------------------------


def by_rtsp(options: argparse.Namespace, running: Daemon, url: str) -> dict[str, Any]:
    """In turns, so that all meet the same box: CPU per viewer is that of 16 less that of one, over 15."""
    kinds: dict[str, Callable[[], Crowd]] = {
        "whep": lambda: Crowd(whep(options, running), raw=True),
        "tcp": lambda: RtspCrowd(url),
        "udp": lambda: RtspCrowd(url, udp=True),
    }
    worker = running.worker_pid
    assert worker is not None
    rows: dict[str, list[dict[str, Any]]] = {kind: [] for kind in kinds}
    for _ in range(options.turns):
        for kind, crowd in kinds.items():
            with crowd() as present:
                rows[kind] += _rows(present, RTSP_COUNTS, (running.pid, present.pid, worker), options.seconds)
    slopes = {kind: _slope(found) for kind, found in rows.items()}
    ratios = {kind: round(slopes[kind] / slopes["whep"], 2) for kind in ("tcp", "udp")}
    return {
        "rows": rows,
        "cpu_percent_per_viewer": slopes,
        "ratio": ratios,
        "targets": {
            "ratio_at_most_1.5": {kind: ratio <= MAX_RTSP_RATIO for kind, ratio in ratios.items()},
            "none_lost": not any(row["lost"] for kind in ratios for row in rows[kind]),
        },
    }


# -- aiortc as it comes -------------------------------------------------------------------------------


def stock(options: argparse.Namespace, depth: Path, codec: str) -> dict[str, Any]:
    """Until one viewer gets less than 29 fps. Its CPU per added viewer is over the rows before that, or of the
    first viewer alone when already that one does: then it is too low, and the ratio too."""
    with Helper(codec, "--clip", str(depth)) as server:
        idle = Box(server.pid)
        time.sleep(options.seconds)
        rows = [{"viewers": 0, "cpu_percent": round(100 * idle.cores()["own_cores"], 1)}]
        with Crowd(server.facts["url"], raw=True) as crowd:
            for row in _rows(crowd, STOCK_COUNTS, (server.pid, crowd.pid), options.seconds):
                rows.append({"codec": codec} | row)
                if row["fps_min"] < MIN_FPS:
                    break
    enough = [row for row in rows if row.get("fps_min", FPS) >= MIN_FPS]
    return {"rows": rows, "cpu_percent_per_viewer": _slope(enough if len(enough) > 1 else rows[:2])}


async def serve_stock(depth: Path, codec: str) -> None:
    """A WHEP of ten lines: one picture source, a MediaRelay, and aiortc's encoder for each viewer."""
    import aiortc.codecs.h264
    import aiortc.codecs.vpx
    from aiohttp import web
    from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCSessionDescription, VideoStreamTrack
    from aiortc.contrib.media import MediaRelay

    aiortc.codecs.h264.DEFAULT_BITRATE = aiortc.codecs.vpx.DEFAULT_BITRATE = KBPS * 1000
    with av.open(str(depth)) as container:
        pictures = cycle([picture for picture, _ in zip(container.decode(video=0), range(STOCK_FRAMES), strict=False)])

    class Depth(VideoStreamTrack):  # type: ignore[misc]
        async def recv(self) -> av.VideoFrame:
            pts, time_base = await self.next_timestamp()  # 30 a second
            again = next(pictures)
            picture = av.VideoFrame(again.width, again.height, "yuv420p")
            for plane, source in zip(picture.planes, again.planes, strict=True):
                plane.update(memoryview(source))
            picture.pts, picture.time_base = pts, Fraction(time_base)
            return picture

    source, relay, peers = Depth(), MediaRelay(), dict[str, RTCPeerConnection]()
    known = RTCRtpSender.getCapabilities("video").codecs

    async def post(request: web.Request) -> web.Response:
        peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        peers[str(id(peer))] = peer
        transceiver = peer.addTransceiver(relay.subscribe(source), direction="sendonly")
        transceiver.setCodecPreferences([each for each in known if each.mimeType == f"video/{codec}"])
        await peer.setRemoteDescription(RTCSessionDescription(await request.text(), "offer"))
        await peer.setLocalDescription(await peer.createAnswer())
        location = {"Location": f"/whep/{id(peer)}"}
        return web.Response(status=201, text=peer.localDescription.sdp, headers=location)

    async def delete(request: web.Request) -> web.Response:
        await peers.pop(request.match_info["peer"]).close()
        return web.Response()

    app = web.Application()
    app.add_routes([web.post("/whep", post), web.delete("/whep/{peer}", delete)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    reply({"url": f"http://127.0.0.1:{runner.addresses[0][1]}/whep"})
    await asyncio.to_thread(sys.stdin.read)  # until the parent hangs up
    await asyncio.gather(*(peer.close() for peer in peers.values()))
    await runner.cleanup()


# -- who comes and goes -------------------------------------------------------------------------------


def cycles(options: argparse.Namespace, running: Daemon) -> dict[str, Any]:
    """In batches: half leave with DELETE, one after the other; half are killed, all at once."""
    url, samples = whep(options, running), [_holds(running, -options.warm_up)]
    gone_s, done = [], -options.warm_up
    while done < options.cycles:
        batch = min(options.batch, options.cycles - done if done >= 0 else -done)
        with Crowd(url, raw=True) as polite:
            silent = Crowd(url, raw=True)
            silent.join(batch // 2, at_once=True)
            for _ in range(batch - batch // 2):
                polite.join(1)
                polite.leave()
            silent.vanish()
        gone_s.append(_wait(lambda: running.metrics().value("streamd_viewers", stream=STREAM, view=options.view) == 0))
        time.sleep(SETTLE_S)  # the encoder goes with the next frame
        done += batch
        samples.append(_holds(running, done))
        log(json.dumps(samples[-1]))
    warm, last = next(each for each in samples if each["cycles"] >= 0), samples[-1]
    growth = last["resident_mb"] / warm["resident_mb"] - 1
    return {
        "cycles": done,
        "warm_up": options.warm_up,
        "samples": samples,
        "last_session_gone_after_s": {"median": median(gone_s, 1), "max": round(max(gone_s), 1)},
        "resident_growth": round(growth, 4),
        "targets": {
            "resident_within_3_percent": growth <= MAX_RSS_SHARE,
            "no_descriptor_left": last["descriptors"] <= warm["descriptors"],
            "no_thread_left": last["threads"] <= warm["threads"],
            "sessions_gone_within_10_s": max(gone_s) <= GONE_S,
        },
    }


def _holds(running: Daemon, done: int) -> dict[str, Any]:
    proc = Path(f"/proc/{running.pid}")
    resident = running.metrics().value("process_resident_memory_bytes")
    return {
        "cycles": done,
        "resident_mb": round(resident / 1e6, 2),
        "descriptors": len(os.listdir(proc / "fd")),
        "threads": len(os.listdir(proc / "task")),
    }


def _wait(is_so: Callable[[], bool]) -> float:
    """How long it took, s."""
    started = time.monotonic()
    while not is_so():
        if time.monotonic() - started > 3 * GONE_S:
            raise SystemExit(f"sessions of dead viewers are still there after {3 * GONE_S:.0f} s")
        time.sleep(0.1)
    return time.monotonic() - started


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=10, help="how long to measure each row (10)")
    parser.add_argument("--view", default="depth", help="what they watch (depth)")
    parser.add_argument("--clip", type=Path, help="a video file; default: made from the demo clip, 1280x720 at 30 fps")
    parser.add_argument("--rtsp", action="store_true", help="16 readers by RTSP against 16 by WHEP")
    parser.add_argument("--turns", type=int, default=2, help="with --rtsp: each kind so often (2)")
    parser.add_argument("--cycles", type=int, default=0, help="let so many come and go instead; 300 for memory")
    parser.add_argument("--warm-up", type=int, default=30, help="so many before, not counted (30)")
    parser.add_argument("--batch", type=int, default=30, help="of these at a time (30)")
    parser.add_argument("--role", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    main()
