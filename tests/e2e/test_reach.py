"""One UDP port for everybody, with real Chromium; and what the doctor says about it."""

from __future__ import annotations

import asyncio
import json
import socket
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import async_playwright

from tests.e2e.conftest import StartDaemon
from tests.e2e.processes import Daemon, streamd
from tests.e2e.test_browser import CHROMIUM, SWITCHES
from tests.support.ports import free_port
from tests.support.waiting import until, until_async

# A page of ours would tell nothing of how it connected. Three viewers, each with a peer of its own.
WATCH = """async (url) => {
  const watch = async () => {
    const peer = new RTCPeerConnection();
    peer.addTransceiver('video', { direction: 'recvonly' });
    await peer.setLocalDescription();
    const headers = { 'Content-Type': 'application/sdp' };
    const reply = await fetch(url, { method: 'POST', headers, body: peer.localDescription.sdp });
    if (reply.status !== 201) throw new Error(await reply.text());
    await peer.setRemoteDescription({ type: 'answer', sdp: await reply.text() });
    return peer;
  };
  window.peers = await Promise.all([watch(), watch(), watch()]);
}"""
# [pictures decoded, remote ports of the pair in use] of each viewer.
SEEN = """async () => Promise.all(window.peers.map(async (peer) => {
  const stats = [...(await peer.getStats()).values()];
  const used = stats.filter((one) => one.type === 'candidate-pair' && one.nominated);
  const remote = used.map((pair) => stats.find((one) => one.id === pair.remoteCandidateId).port);
  return [stats.find((one) => one.type === 'inbound-rtp')?.framesDecoded ?? 0, remote];
}))"""
LEAVE = "() => window.peers.forEach((peer) => peer.close())"


def udp_ports_of(pid: int) -> list[int]:
    """Those that this process has open, each as often as it has."""
    sockets = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            sockets.add(str(entry.readlink()))
        except OSError:  # closed meanwhile
            continue
    lines = [
        line.split() for name in ("udp", "udp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
    ]
    return [int(words[1].rpartition(":")[2], 16) for words in lines if f"socket:[{words[9]}]" in sockets]


@pytest.mark.timeout(90)
async def test_chromium_plays_three_times_through_one_port(daemon: StartDaemon, home: Path) -> None:
    port = free_port()
    start = lambda: daemon("demo:", STREAMD_WEBRTC__UDP_PORTS=f'"{port}"').until_ready()  # noqa: E731
    running: Daemon = await asyncio.to_thread(start)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=SWITCHES)
        page = await browser.new_page()
        await page.goto(f"{running.url}healthz")
        await page.evaluate(WATCH, f"{running.url}whep/demo")

        async def all_play() -> bool:
            return all(decoded > 20 for decoded, _ in await page.evaluate(SEEN))

        await until_async("three viewers see pictures", all_play)
        assert [set(remote) for _, remote in await page.evaluate(SEEN)] == [{port}] * 3
        assert set(udp_ports_of(running.pid)) == {port}, "and there is no other"
        assert len(udp_ports_of(running.pid)) <= 8, "one socket per address, not per viewer"

        other = ("--webrtc", "--json")
        output = await asyncio.to_thread(lambda: findings(home, port, running.url, *other))
        assert "by the streamd that runs" in output["udp_ports"]
        assert "a picture came after" in output["calls"]
        assert "on other ports" in output["calls"]

        await page.evaluate(LEAVE)
        gone = lambda: udp_ports_of(running.pid) == []  # noqa: E731
        await asyncio.to_thread(until, "the port is free again", gone)
        await browser.close()


def findings(home: Path, port: int, url: str, *options: str) -> dict[str, str]:
    """What the doctor finds for this configuration, by check."""
    listen = url.removeprefix("http://").rstrip("/")
    done = streamd(home, "doctor", *options, STREAMD_WEBRTC__UDP_PORTS=f'"{port}"', STREAMD_SERVER__LISTEN=listen)
    assert done.code == 0, done.stdout
    report = json.loads(done.stdout)
    checks = dict.fromkeys(each["check"] for each in report["findings"])
    return {
        check: "\n".join(each["found"] for each in report["findings"] if each["check"] == check) for check in checks
    }


def test_the_doctor_names_the_port_that_somebody_holds(home: Path) -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as held:
        held.bind(("127.0.0.1", 0))
        port = str(held.getsockname()[1])
        settings: dict[str, Any] = {
            "STREAMD_WEBRTC__UDP_PORTS": f'"{port}"',
            "STREAMD_WEBRTC__INTERFACES": '["127.0.0.1"]',
            "STREAMD_SERVER__LISTEN": f"127.0.0.1:{free_port()}",
        }
        done = streamd(home, "doctor", "--webrtc", **settings)
    assert done.code == 1
    assert done.error_line == "streamd: doctor: 1 problem"
    lines = done.stdout.splitlines()
    assert f"problem udp_ports  127.0.0.1: port {port} cannot be had: address already in use" in lines
    assert "choose another webrtc.udp_ports" in done.stdout
    assert any(line.startswith("ok      calls      127.0.0.1: a picture came") for line in lines), "on other ports"
