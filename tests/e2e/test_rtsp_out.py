"""A daemon that serves RTSP and endless files: read by FFmpeg, and ended with all of them reading."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

from tests.e2e.conftest import Shared, StartDaemon, make_home
from tests.e2e.processes import streamd
from tests.support.ports import free_port
from tests.support.settings import write_settings
from tests.support.waiting import until

BARS = "lavfi:testsrc2=size=640x360:rate=25"
PICTURES = 25
FFMPEG = ("/usr/bin/ffmpeg", "-nostdin", "-hide_banner", "-loglevel", "error", "-analyzeduration", "500000")


def pictures(file: Path) -> int:
    return sum(line.startswith("0,") for line in file.read_text().splitlines())


def test_readers_of_all_kinds_see_pictures_and_hold_up_no_end(daemon: StartDaemon, tmp_path: Path) -> None:
    port = free_port()
    settings = write_settings(
        tmp_path / "streamd.toml", {"bars": {"source": BARS}}, rtsp={"listen": f"127.0.0.1:{port}"}
    )
    running = daemon("--config", settings).until_ready()
    rtsp, live = f"rtsp://127.0.0.1:{port}/bars", f"{running.url}api/v1/streams/bars/live"
    sources = {
        "tcp": ("-rtsp_transport", "tcp", "-i", rtsp),
        "udp": ("-rtsp_transport", "udp", "-i", f"{rtsp}/overlay"),
        "mp4": ("-i", live),
        "ts": ("-i", f"{live}?container=ts&view=side-by-side"),
    }
    readers = {}
    for name, source in sources.items():
        with (tmp_path / name).open("wb") as seen, (tmp_path / f"{name}.log").open("wb") as log:
            command = [*FFMPEG, *source, "-fps_mode", "passthrough", "-enc_time_base", "1:90000", "-f", "framemd5", "-"]
            readers[name] = subprocess.Popen(command, stdout=seen, stderr=log)
    try:
        for name in sources:
            until(f"{name} shows pictures", lambda name=name: pictures(tmp_path / name) >= PICTURES)  # type: ignore[misc]
        assert running.stream("bars")["viewers"] == 4
        assert running.metrics().value("streamd_viewers", stream="bars") == 4
        with socket.create_connection(("127.0.0.1", port)) as stuck:
            stuck.sendall(
                b"SETUP rtsp://h/bars RTSP/1.0\r\nCSeq: 1\r\nTransport: RTP/AVP/TCP\r\n\r\n"
                b"PLAY rtsp://h/bars RTSP/1.0\r\nCSeq: 2\r\n\r\n"
            )
            until("it is watched", lambda: running.stream("bars")["viewers"] == 5)
            assert running.stop() == 0
        for name, reader in readers.items():
            assert reader.wait(10) == 0, name
            complaints = (tmp_path / f"{name}.log").read_text().splitlines()
            assert [line for line in complaints if "decod" in line or "concealing" in line or "corrupt" in line] == []
    finally:
        for reader in readers.values():
            reader.kill()
            reader.wait()


def test_a_port_that_is_taken_ends_it_with_one_line(shared: Shared, tmp_path: Path) -> None:
    home = make_home(shared, tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        ended = streamd(home, "run", BARS, "--listen", "127.0.0.1:0", STREAMD_RTSP__LISTEN=listen)
    assert (ended.code, "Traceback" in ended.stderr) == (1, False)
    assert f"cannot listen for RTSP on {listen}: the port is in use: choose another rtsp.listen" in ended.stderr
