"""`streamd run clip.mp4 --record DIR`: files that other programs read, however the daemon ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.conftest import StartDaemon
from tests.e2e.pictures import Rgb, ffmpeg, off_inferno, read
from tests.e2e.processes import Daemon, alive
from tests.support.waiting import scaled, until

LOST_S = 2.0
"""What a power cut may cost."""
CAMERA, NAME = "lavfi:testsrc2=size=320x180:rate=20", "lavfi-testsrc2"


@dataclass(frozen=True)
class Probed:
    """What ffprobe counts in a file."""

    frames: int
    duration_s: float
    codec: str
    size: tuple[int, int]


def probe(path: Path) -> Probed:
    """Decodes it all; fails on the smallest error."""
    done = subprocess.run(
        ["ffprobe", "-v", "error", "-count_frames", "-show_streams", "-show_packets", "-of", "json", str(path)],
        capture_output=True,
        text=True,
        timeout=scaled(60),
        check=True,
    )
    assert done.stderr == "", done.stderr
    found = json.loads(done.stdout)
    [video] = found["streams"]
    times = [float(packet["pts_time"]) for packet in found["packets"]]
    assert times == sorted(set(times)), "times go back or repeat"
    return Probed(
        int(video["nb_read_frames"]), times[-1] - times[0], video["codec_name"], (video["width"], video["height"])
    )


def segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("**/*.mp4"))


def published(daemon: Daemon) -> int:
    return int(daemon.metrics().value("streamd_frames_published_total", view="depth"))


def frames_under_way(daemon: Daemon) -> float:
    """Captured, and neither left out nor published yet."""
    now = daemon.metrics()
    captured, skipped = now.value("streamd_frames_captured_total"), now.value("streamd_frames_skipped_total")
    return captured - skipped - now.value("streamd_frames_published_total")


def first_picture(path: Path, folder: Path) -> Rgb:
    ffmpeg("-i", path, "-frames:v", "1", folder / "first.png")
    return read((folder / "first.png").read_bytes())  # type: ignore[return-value]


def test_a_clip_is_recorded_in_segments(daemon: StartDaemon, clip: Path, tmp_path: Path) -> None:
    folder = tmp_path / "recordings"
    running = daemon(clip, "--record", folder, STREAMD_RECORDING__SEGMENT_SECONDS="1")
    until("the clip has ended", lambda: running.state("clip") == "ended")
    until("the last frame is through", lambda: frames_under_way(running) <= 0)
    count = published(running)
    assert count > 10
    assert running.stop() == 0

    probes = [probe(segment) for segment in segments(folder / "clip")]
    assert len(probes) >= 2
    # At the end of a segment the last picture may be shown once more, as a keyframe.
    assert count <= sum(one.frames for one in probes) <= count + 1
    assert sum(one.duration_s for one in probes) == pytest.approx(3.0, abs=0.5)
    assert {(one.codec, one.size) for one in probes} == {("h264", (320, 180))}
    assert (off_inferno(first_picture(segments(folder)[0], tmp_path)) <= 24).mean() > 0.98


def test_a_killed_daemon_leaves_what_it_recorded(daemon: StartDaemon, tmp_path: Path) -> None:
    folder = tmp_path / "recordings"
    running = daemon(CAMERA, "--record", folder)
    until("something is recorded", lambda: published(running))
    since = time.monotonic()
    until("more is recorded", lambda: published(running) > 80)
    recorded_s, worker = time.monotonic() - since, running.worker()
    running.kill()

    [segment] = segments(folder)
    found = probe(segment)
    assert found.frames > 0
    assert recorded_s - LOST_S <= found.duration_s <= recorded_s + LOST_S
    until("its worker has gone too", lambda: not alive(worker), within_s=5)


def test_old_recordings_go_and_new_ones_stay(daemon: StartDaemon, tmp_path: Path) -> None:
    folder = tmp_path / "recordings"
    old = folder / "away" / "2026-11-25T03-41-00.500Z-depth.mp4"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"old")
    os.utime(old, (0, 0))
    running = daemon(CAMERA, "--record", folder, STREAMD_RECORDING__MAX_AGE_HOURS="1")
    until("the old one has gone", lambda: not old.exists())
    until("something is recorded", lambda: segments(folder))
    assert running.stop() == 0
    assert probe(segments(folder)[0]).frames > 0


def test_sigterm_completes_the_recording(daemon: StartDaemon, tmp_path: Path) -> None:
    folder = tmp_path / "recordings"
    running = daemon(CAMERA, "--record", folder)
    until("something is recorded", lambda: published(running) > 30)
    count = published(running)
    os.kill(running.worker(), signal.SIGTERM)  # systemd tells every process of a service to stop
    assert running.stop() == 0

    [segment] = segments(folder)
    assert count <= probe(segment).frames <= count + 20
    assert " ERROR " not in running.log, running.log
