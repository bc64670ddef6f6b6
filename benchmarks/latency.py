"""From the camera to the screen: how old is the picture that Chromium shows?

A camera of ours (Motion JPEG over HTTP, 1280x720 at 30 fps) draws the time into each picture as it takes it. Headless
Chromium watches view `source`, which leaves together with the depth made of the same frame, and a canvas reads the
time back out of each picture as it is shown: both clocks are this machine's. `--joins` measures instead how long
one more viewer waits for its first decoded picture, with 1 and with 16 others there. Prints JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import random
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import common
import cv2
import numpy as np
from common import Box, Helper, log, reply
from live import STREAM, Daemon, daemon, quantile_ms
from numpy.typing import NDArray

sys.path.append(str(common.ROOT))
from tests.support.crowd import Crowd

WIDTH, HEIGHT, FPS = 1280, 720, 30
BLOCK, BITS = 40, 24
"""Milliseconds of the day in black and white squares, and under them the same in negative: a picture that was
read badly is told apart from a late one."""
CHROMIUM = "/usr/bin/chromium"
SWITCHES = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
SETTLE_S, SETTLED_PICTURES = 5.0, 100
STAGES = ("decode", "wait", "preprocess", "infer", "render", "encode")
MAX_MEDIAN_MS, MAX_JOIN_S = 150.0, 1.0

Picture = NDArray[np.uint8]


def main() -> None:
    options = _parser().parse_args()
    if options.role:
        serve_camera()
        return
    with tempfile.TemporaryDirectory(prefix="streamd-bench-") as temporary:
        folder = Path(temporary)
        weights = common.weights_for(options.model, folder / "home")
        with Helper("camera") as camera, daemon(camera.facts["url"], options.model, weights.environment, folder) as run:
            run.wait_ready()
            result = asyncio.run(joins(options, run) if options.joins else screen(options, run, camera))
    facts = {"benchmark": "joins" if options.joins else "latency", "model": options.model, "weights": weights.kind}
    json.dump(facts | {"box": common.machine()} | result, sys.stdout, indent=1)
    print()


# -- the camera ---------------------------------------------------------------------------------------


def serve_camera() -> None:
    """Answers with what its pictures have cost so far: from taking the time to having sent them, ms."""
    costs_s: list[float] = []

    class Camera(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=picture")
            self.end_headers()
            due, number = time.monotonic(), 0
            try:
                while True:
                    due, number = max(due + 1 / FPS, time.monotonic()), number + 1
                    time.sleep(max(0.0, due - time.monotonic()))
                    started = time.monotonic()
                    jpeg = cv2.imencode(".jpg", picture(number), [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()
                    head = f"--picture\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                    self.wfile.write(head.encode() + jpeg + b"\r\n")
                    costs_s.append(time.monotonic() - started)
            except OSError:  # nobody reads any more
                pass

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Camera)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    reply({"url": f"http://127.0.0.1:{server.server_port}/clock.mjpg"})
    for _ in common.requests():
        taken = costs_s.copy()
        costs_s.clear()
        reply(common.spread(taken) | {"pictures": len(taken)})


def picture(number: int) -> Picture:
    """A ramp that moves, a disc that goes round, and the time in the upper left corner."""
    ramp = np.roll(np.linspace(60, 200, WIDTH).astype(np.uint8), 4 * number)
    image = np.repeat(np.tile(ramp, (HEIGHT, 1))[..., None], 3, axis=2)
    angle = 2 * math.pi * number / 90
    centre = (WIDTH // 2 + round(300 * math.cos(angle)), HEIGHT // 2 + round(180 * math.sin(angle)))
    cv2.circle(image, centre, 90, (40, 90, 220), -1)
    now_ms = round(1000 * time.time()) % 2**BITS
    for bit in range(BITS):
        shade = 235 if now_ms >> bit & 1 else 16
        image[:BLOCK, bit * BLOCK : (bit + 1) * BLOCK] = shade
        image[BLOCK : 2 * BLOCK, bit * BLOCK : (bit + 1) * BLOCK] = 251 - shade
    return image


# -- the screen ---------------------------------------------------------------------------------------

# Plain WHEP, and a clock reader. A picture whose two rows do not agree counts as unread.
WATCH = """async ([url, block, bits]) => {
  const peer = new RTCPeerConnection();
  const video = Object.assign(document.createElement('video'), { muted: true, autoplay: true, playsInline: true });
  document.body.append(video);
  peer.ontrack = (event) => { video.srcObject = event.streams[0]; };
  peer.addTransceiver('video', { direction: 'recvonly' });
  await peer.setLocalDescription(await peer.createOffer());
  const headers = { 'Content-Type': 'application/sdp' };
  const answer = await fetch(url, { method: 'POST', body: peer.localDescription.sdp, headers });
  if (!answer.ok) throw new Error(await answer.text());
  await peer.setRemoteDescription({ type: 'answer', sdp: await answer.text() });
  const canvas = Object.assign(document.createElement('canvas'), { width: bits * block, height: 2 * block });
  const context = canvas.getContext('2d', { willReadFrequently: true });
  Object.assign(window, { ages: [], unread: 0, peer });
  const read = () => {
    context.drawImage(video, 0, 0, canvas.width, canvas.height, 0, 0, canvas.width, canvas.height);
    const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
    const lit = (bit, row) => data[4 * ((row * block + block / 2) * canvas.width + bit * block + block / 2) + 1] > 128;
    let time = 0;
    for (let bit = 0; bit < bits; bit += 1) {
      if (lit(bit, 0) === lit(bit, 1)) return null;
      if (lit(bit, 0)) time += 2 ** bit;
    }
    return time;
  };
  const onPicture = () => {
    const now = performance.timeOrigin + performance.now();
    const taken = read();
    if (taken === null) window.unread += 1;
    else window.ages.push((now - taken) % 2 ** bits);
    video.requestVideoFrameCallback(onPicture);
  };
  video.requestVideoFrameCallback(onPicture);
}"""
STATS = """async () => {
  const stats = [...(await peer.getStats()).values()].find((each) => each.type === 'inbound-rtp');
  const { jitterBufferDelay: waited, jitterBufferEmittedCount: emitted, totalDecodeTime, framesDecoded } = stats;
  return { waited, emitted, totalDecodeTime, framesDecoded, freezes: stats.freezeCount };
}"""


async def screen(options: argparse.Namespace, running: Daemon, camera: Helper) -> dict[str, Any]:
    from playwright.async_api import async_playwright

    async with (
        async_playwright() as playwright,
        await playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES) as browser,
    ):
        page = await browser.new_page()
        await page.goto(f"{running.url}/healthz")
        await page.evaluate(WATCH, [f"/whep/{STREAM}?view=source", BLOCK, BITS])
        await page.wait_for_function(f"() => ages.length > {SETTLED_PICTURES}", timeout=60_000)
        await page.evaluate("() => { ages.length = 0; unread = 0; }")
        camera.ask()
        before, first, box = await page.evaluate(STATS), running.metrics(), Box(running.pid)
        log(f"measuring for {options.seconds:g} s")
        await asyncio.sleep(options.seconds)
        ages_ms, unread = await page.evaluate("() => [ages, unread]")
        after, last, cores = await page.evaluate(STATS), running.metrics(), box.cores()
    feeder = camera.ask()
    result = {
        "pictures": len(ages_ms),
        "pictures_per_s": round(len(ages_ms) / options.seconds, 1),
        "unread": unread,
        "capture_to_screen_ms": distribution(ages_ms),
        "shares_ms": {
            "camera": feeder,
            "streamd": _server_share(first, last),
            "chromium": {
                name: round(1e3 * (after[total] - before[total]) / max(1, after[count] - before[count]), 2)
                for name, total, count in (
                    ("jitter_buffer", "waited", "emitted"),
                    ("decode", "totalDecodeTime", "framesDecoded"),
                )
            },
        },
        "freezes": after["freezes"] - before["freezes"],
        "cpu": cores,
    }
    met = result["capture_to_screen_ms"]["p50"] <= MAX_MEDIAN_MS
    return result | {"targets": {"median_within_150_ms": met}}


def _server_share(first: Any, last: Any) -> dict[str, Any]:
    """From the decoded frame to the packets, as streamd itself sees it."""
    name = "streamd_capture_to_publish_seconds"
    before, after = first.buckets(name), last.buckets(name)
    stages = {}
    for stage in STAGES:
        seconds, count = (
            last.value(f"streamd_stage_seconds_{kind}", stream=STREAM, stage=stage)
            - first.value(f"streamd_stage_seconds_{kind}", stream=STREAM, stage=stage)
            for kind in ("sum", "count")
        )
        stages[stage] = round(1e3 * seconds / count, 2) if count else None
    return {
        "p50": quantile_ms(0.5, before, after),
        "p95": quantile_ms(0.95, before, after),
        "stage_mean": stages,
    }


def distribution(values: Sequence[float]) -> dict[str, float]:
    ordered = sorted(values)
    fractions = {"min": 0.0, "p5": 0.05, "p25": 0.25, "p50": 0.5, "p75": 0.75, "p95": 0.95, "p99": 0.99, "max": 1.0}
    return {name: round(ordered[int(fraction * (len(ordered) - 1))], 1) for name, fraction in fractions.items()}


# -- the first picture --------------------------------------------------------------------------------


async def joins(options: argparse.Namespace, running: Daemon) -> dict[str, Any]:
    """aiortc decodes; it shows a picture only when the next begins, so a browser is 33 ms sooner."""
    import aiohttp

    from tests.e2e.viewer import Viewer

    url, result, met = f"{running.url}/whep/{STREAM}", {}, True
    for others in (1, 16):
        with Crowd(url, raw=True) as crowd:
            await asyncio.to_thread(crowd.join, others, at_once=True)
            await asyncio.sleep(SETTLE_S)
            await asyncio.to_thread(crowd.counts)
            times_ms = []
            async with aiohttp.ClientSession() as http:
                for _ in range(options.joins):
                    viewer = await Viewer(http, url).join()
                    await viewer.sees(1)
                    times_ms.append(1e3 * (viewer.first_frame_at - viewer.posted_at))
                    await viewer.close()
                    await asyncio.sleep(random.uniform(0.1, 1.0))
            seen = await asyncio.to_thread(crowd.counts)
        least_fps = min(viewer["pictures"] / viewer["s"] for viewer in seen)
        result[f"with_{others}"] = {"join_ms": distribution(times_ms), "fps_min_of_the_others": round(least_fps, 1)}
        met = met and result[f"with_{others}"]["join_ms"]["p95"] <= 1e3 * MAX_JOIN_S
        log(json.dumps(result))
    return {"joins": options.joins} | result | {"targets": {"p95_within_1_s": met}}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30, help="how long to measure (30)")
    parser.add_argument("--joins", type=int, default=0, help="measure so many joins instead")
    parser.add_argument("--model", choices=("embedded", "midas_small"), default="embedded")
    parser.add_argument("--role", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    main()
