"""Recordings of a real daemon over HTTP: other programs play what is downloaded, whole or in parts."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.e2e.conftest import StartDaemon
from tests.e2e.processes import Daemon
from tests.support.waiting import scaled, until

SOURCE, NAME = "lavfi:testsrc2=size=320x180:rate=20", "lavfi-testsrc2"
RECORDING = f"/api/v1/streams/{NAME}/recording"


def frames(path: Path) -> int:
    """That ffprobe decodes; 0 while there is no header yet."""
    command = ["ffprobe", "-v", "error", "-count_frames", "-show_entries", "stream=nb_read_frames", "-of", "csv=p=0"]
    done = subprocess.run([*command, str(path)], capture_output=True, text=True, timeout=scaled(60), check=False)
    found = done.stdout.strip()
    return int(found) if found.isdecimal() else 0


def newest(daemon: Daemon) -> dict[str, object]:
    found: list[dict[str, object]] = daemon.get("/api/v1/recordings?limit=1").json["recordings"]
    return found[0] if found else {}


def test_start_watch_stop_seek(daemon: StartDaemon, tmp_path: Path) -> None:
    folder = tmp_path / "recordings"
    running = daemon(
        SOURCE, STREAMD_RECORDING__DIRECTORY=str(folder), **{f"STREAMD_STREAMS__{NAME}__RECORD": "[]"}
    ).until_ready()
    assert newest(running) == {}
    assert running.request("PUT", RECORDING).json["recording_views"] == ["depth"]
    being_written = until("the first segment is written", lambda: newest(running))
    assert being_written["complete"] is False

    def part() -> int:
        (tmp_path / "part.mp4").write_bytes(running.get(f"/recordings/{being_written['path']}").body)
        return frames(tmp_path / "part.mp4")

    until("what is on the disk plays", lambda: part() > 5)
    assert running.request("DELETE", RECORDING).json["recording"] is False
    done = newest(running)
    assert (done["complete"], done["cut_short"], done["path"]) == (True, False, being_written["path"])
    url = f"{running.url}recordings/{done['path']}"
    # With the times of the file: it would round them to a guessed rate, and complain of two pictures at one time.
    command = ["ffmpeg", "-v", "error", "-seekable", "1", "-i", url, "-enc_time_base", "-1", "-f", "null", "-"]
    assert subprocess.run(command, capture_output=True, timeout=scaled(60), check=True).stderr == b""
    tail = running.get(f"/recordings/{done['path']}", Range="bytes=-100")
    assert tail.status == 206
    assert tail.body == (folder / str(done["path"])).read_bytes()[-100:]


def test_after_a_power_cut_it_is_marked_and_can_be_played(daemon: StartDaemon, tmp_path: Path) -> None:
    folder = tmp_path / "recordings"
    running = daemon(SOURCE, "--record", folder).until_ready()
    cut = until("the first segment is written", lambda: newest(running))["path"]
    until("what is on the disk plays", lambda: frames(folder / str(cut)) > 5)
    running.kill()
    again = daemon(SOURCE, "--record", folder).until_ready()
    until("the next one is being written", lambda: newest(again)["path"] != cut)
    [before] = [item for item in again.get("/api/v1/recordings").json["recordings"] if item["path"] == cut]
    assert (before["complete"], before["cut_short"]) == (True, True)
    (tmp_path / "cut.mp4").write_bytes(again.get(f"/recordings/{cut}").body)
    assert frames(tmp_path / "cut.mp4") > 5


def test_nowhere_to_record_to(daemon: StartDaemon) -> None:
    running = daemon(SOURCE).until_ready()
    answer = running.request("PUT", RECORDING)
    assert answer.error == (409, "not_configured")
    assert "recording.directory" in answer.text
    assert running.get("/api/v1/recordings").json == {"recordings": [], "next": None}
